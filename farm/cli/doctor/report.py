"""The checks as the user sees them: marks in colour on a terminal, one line each elsewhere."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable

from farm.cli import as_json as json_lines
from farm.cli.doctor.check import Check, State
from farm.cli.exits import Exit
from farm.cli.tables import printable

_NAME_WIDTH = 8
_STYLES = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red"}


def show(checks: Iterable[Check], *, as_json: bool) -> Exit:
    """Prints each as it comes. REFUSED where one failed."""
    put = _json if as_json else _on_terminal if sys.stdout.isatty() else _plain
    counts: Counter[State] = Counter()
    for check in checks:
        counts[check.state] += 1
        put(check)
    if not as_json:
        print(f"{counts[State.FAIL]} failed, {counts[State.WARN]} warned")  # noqa: T201
    return Exit.REFUSED if counts[State.FAIL] else Exit.SUCCEEDED


def _json(check: Check) -> None:
    found = {"name": check.name, "state": check.state, "found": check.found}
    print(json_lines.line({**found, "advice": check.advice or None}), flush=True)  # noqa: T201


def _plain(check: Check) -> None:
    told = f"{check.found}. {check.advice}" if check.advice else check.found
    head = f"{check.state:<4}  {check.name:<{_NAME_WIDTH}}"
    print(f"{head}  {printable(told)}", flush=True)  # noqa: T201


def _on_terminal(check: Check) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    row = Table.grid(padding=(0, 2))
    row.add_column(width=4)
    row.add_column(width=_NAME_WIDTH)
    row.add_column(overflow="fold")
    told = "\n".join(printable(text) for text in (check.found, check.advice) if text)
    row.add_row(Text(check.state, _STYLES[check.state]), check.name, Text(told))
    Console().print(row)
