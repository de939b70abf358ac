"""What a run shows a person: pictures, tables, and comparisons of runs. Knows no toolbox, imports no torch.

    strip.py, table.py   images side by side, small tables for the terminal
    statistics.py        paired differences, bootstrap intervals, sign tests
    comparison.py        runs of several variants, and their numbers
    maps.py              errors and differences as pictures
    figures.py           what all figures share: colours, sizes, how they are saved
    curves.py            losses and validations over iterations
    plots.py             costs and differences of every image
    page.py, write.py    HTML, Markdown and JSON
"""
from mcir_plugin.report.comparison import Comparison, ComparisonError, Result, RunData
from mcir_plugin.report.figures import PlottingError, require_matplotlib
from mcir_plugin.report.maps import Shown, sheet
from mcir_plugin.report.page import write_text
from mcir_plugin.report.strip import Panel, comparison_strip, hardest_square, save_picture, stack_strips
from mcir_plugin.report.table import text_table
from mcir_plugin.report.write import write_report

__all__ = [
    'Comparison',
    'ComparisonError',
    'Panel',
    'PlottingError',
    'Result',
    'RunData',
    'Shown',
    'comparison_strip',
    'hardest_square',
    'require_matplotlib',
    'save_picture',
    'sheet',
    'stack_strips',
    'text_table',
    'write_report',
    'write_text',
]
