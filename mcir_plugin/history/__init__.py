"""The history of a network under training: past copies, their inputs, when they are refreshed, what they tell."""
from mcir_plugin.history.bank import HistoryBank
from mcir_plugin.history.degrade import Degrade
from mcir_plugin.history.diversity import Diversity
from mcir_plugin.history.draw import Draw
from mcir_plugin.history.refresh import REFRESH_RULES, Growing, Periodic, Staged, build_refresh
from mcir_plugin.history.residual import ResidualStd
from mcir_plugin.history.rule import RefreshRule
from mcir_plugin.history.schedule import Schedule
from mcir_plugin.history.uncertainty import Moments, Uncertainty
from mcir_plugin.history.window import Window

__all__ = ['REFRESH_RULES', 'Degrade', 'Diversity', 'Draw', 'Growing', 'HistoryBank', 'Moments', 'Periodic',
           'RefreshRule', 'ResidualStd', 'Schedule', 'Staged', 'Uncertainty', 'Window', 'build_refresh']
