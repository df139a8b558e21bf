"""docs/SETTINGS.md has every setting, under its name, with its flag."""

from __future__ import annotations

import re
from typing import Any

import typer

from farm.cli.app import app
from farm.settings import KEYS
from tests.docs.blocks import ROOT

ROW = re.compile(r"^\| `FARM_(\w+)` \| (?:`(--[\w-]+)`)? *\|", re.MULTILINE)


def test_the_page_of_settings_has_all_of_them_and_no_others() -> None:
    rows = ROW.findall((ROOT / "docs" / "SETTINGS.md").read_text(encoding="utf-8"))
    assert sorted(key.lower() for key, _ in rows) == sorted(KEYS)


def test_their_flags_are_ones_that_the_command_has() -> None:
    command: Any = typer.main.get_command(app)
    groups = [command, *command.commands.values()]
    flags = {flag for each in groups for param in each.params for flag in param.opts}
    rows = ROW.findall((ROOT / "docs" / "SETTINGS.md").read_text(encoding="utf-8"))
    assert {flag for _, flag in rows if flag} <= flags
