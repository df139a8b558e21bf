"""Tables: with rules and colour on a terminal, plain columns that never wrap into a pipe."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from farm.jobs.params import TINY


def show(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Prints a table on stdout."""
    clean = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout is not None and sys.stdout.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*headers, box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
        for row in clean:
            table.add_row(*(Text(cell, style=STYLES.get(cell, "")) for cell in row))
        Console().print(table)
        return
    lines = [list(headers), *clean]
    widths = [max(len(line[n]) for line in lines) for n in range(len(headers))]
    for row in lines:
        padded = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(padded).rstrip())  # noqa: T201


def printable(text: str) -> str:
    """`text` without what could move the cursor or recolour the terminal: others wrote it."""
    return "".join(c if c.isprintable() else "?" for c in text)


def model_name(name: str | None) -> str:
    """A model as tables show it: nobody shall take a test pattern for a broken model."""
    return f"{name} (test pattern)" if name == TINY.name else name or ""


STYLES = {
    "SUCCEEDED": "green",
    "FAILED": "red",
    "CANCELLED": "yellow",
    "CANCELLING": "yellow",
    "PAUSED": "yellow",
    "CORDONED": "red",
    "RENDERING": "cyan",
    "RUNNING": "cyan",
    "ACTIVE": "cyan",
}
