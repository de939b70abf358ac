"""What a run shows a person: pictures of results side by side and small tables. Knows no toolbox, imports no torch."""
from mcir_plugin.report.strip import Panel, comparison_strip, hardest_square, save_picture, stack_strips
from mcir_plugin.report.table import text_table

__all__ = ['Panel', 'comparison_strip', 'hardest_square', 'save_picture', 'stack_strips', 'text_table']
