"""A table of models and figures that fits a terminal of 80 columns without cutting a name short."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table


def figure_table(columns: Sequence[str]) -> Table:
    """An empty table with these columns; headings break at their underscores, cells never."""
    table = Table(box=None, padding=(0, 1, 0, 0))
    for name in columns:
        table.add_column(name.replace("_", "\n"), no_wrap=True)
    return table
