"""The history of a network under training: frozen past copies, when they are refreshed, which take part."""
from mcir_plugin.history.bank import HistoryBank
from mcir_plugin.history.draw import Draw
from mcir_plugin.history.refresh import REFRESH_RULES, Growing, Periodic, RefreshRule, ResidualStd, build_refresh
from mcir_plugin.history.schedule import Schedule

__all__ = ['REFRESH_RULES', 'Draw', 'Growing', 'HistoryBank', 'Periodic', 'RefreshRule', 'ResidualStd', 'Schedule',
           'build_refresh']
