"""Columns line up."""
from __future__ import annotations

import pytest

from mcir_plugin.report import text_table


def test_first_column_left_others_right() -> None:
    assert text_table(['set', 'PSNR'], [['Set5', '33.68'], ['a', '9.1']]).splitlines() == [
        'set    PSNR',
        '----  -----',
        'Set5  33.68',
        'a       9.1',
    ]


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match='a row has 1 cells, but the header has 2'):
        text_table(['a', 'b'], [['c']])
