"""The reference of the `farm` command, from the command itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import typer

from farm.cli.app import app

_SHELLS = ("install_completion", "show_completion")  # shown where there is a shell that has them
_BEFORE = (
    "The options of the command itself stand before the verb: `farm --address HOST:PORT jobs`."
)
_PLURAL, _ONE = re.compile(r"\{(\w+)\.*\}"), r"\1"  # {JOB...}... is JOB...
_TYPE = re.compile(r" <[^>]*>")  # of an argument, whose name says enough


def page() -> str:
    """Every verb: what it does, its arguments and options as `--help` tells them."""
    farm: Any = typer.main.get_command(app)
    lines = ["# The `farm` command", "", _text(farm.help), "", _BEFORE, "", *_table(farm, "Option")]
    for name, verb in _verbs(farm, "farm"):
        usage = " ".join([name, *verb.collect_usage_pieces(typer.Context(verb))])
        lines += [
            "",
            f"## `{name}`",
            "",
            f"```text\n{_PLURAL.sub(_ONE, usage)}\n```",
            "",
            _text(verb.help),
            "",
        ]
        lines += _table(verb, "Argument, option")
    return "\n".join(lines) + "\n"


def _verbs(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    for verb, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _verbs(command, f"{name} {verb}")
        else:
            yield f"{name} {verb}", command


def _table(verb: Any, title: str) -> Iterator[str]:
    context = typer.Context(verb)
    told = [param.get_help_record(context) for param in verb.params if param.name not in _SHELLS]
    if rows := [record for record in told if record]:
        yield f"| {title} | |"
        yield "|---|---|"
        for names, about in rows:
            yield f"| `{_TYPE.sub('', names)}` | {_text(about)} |"


def _text(help_text: str | None) -> str:
    """As Markdown takes it: an indented paragraph would be code, brackets a link."""
    lines = (help_text or "").replace("\b", "").splitlines()
    return re.sub(r"([\[\]<*_|])", r"\\\1", "\n".join(line.strip() for line in lines).strip())
