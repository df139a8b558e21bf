"""What stands in the documents is of a kind that is run or read, and reads well."""

from __future__ import annotations

import json
import shlex
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.docs import stand_ins
from tests.docs.blocks import ONLY_READ, ROOT, Block, blocks, inline_commands, links, pages

# bash, sh and python run (test_pages.py). These are read; one that is a file is used there as well.
READERS: dict[str, Callable[[str], object]] = {
    "yaml": yaml.safe_load,
    "json": json.loads,
    "toml": tomllib.loads,
    "bash": lambda text: subprocess.run(["bash", "-n", "-c", text], check=True),
    "sh": lambda text: subprocess.run(["bash", "-n", "-c", text], check=True),
    "python": lambda text: compile(text, "block", "exec"),
    "nginx": lambda text: _nested(text),
    "caddy": lambda text: _nested(text),
    "text": str,  # what something says: nobody runs it
}


def _nested(text: str) -> None:
    """Raises AssertionError where braces do not close; the programs themselves are not here."""
    depth = 0
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0


EVERY = [block for page in pages() for block in blocks(page)]


@pytest.mark.parametrize("block", EVERY, ids=str)
def test_the_block_is_of_a_known_kind_and_can_be_read(block: Block) -> None:
    assert block.kind in READERS, f"say which of {', '.join(READERS)} it is, in a fence"
    READERS[block.kind](block.text)


def test_links_lead_to_what_is_there() -> None:
    # Made by `make docs`, which looks at links to them, and by `make chaos`.
    made = ("docs/reference/", "docs/CHAOS.md")
    found = {(page, link) for page in pages() for link in links(page) if not link.startswith(made)}
    assert {each for each in found if not (ROOT / each[1]).exists()} == set()


def test_commands_within_lines_are_ones_that_the_command_takes() -> None:
    wrong = {}
    for where, text in (found for page in pages() for found in inline_commands(page)):
        try:
            stand_ins.read(_as_typed(text))
        except stand_ins.Wrong as error:
            if not str(error).startswith("Missing"):  # a verb that is only named
                wrong[where, text] = str(error)
    assert wrong == {}


def _as_typed(text: str) -> list[str]:
    return shlex.split(text, comments=True)[1:]


def test_commands_of_pages_that_do_not_run_are_ones_that_the_command_takes() -> None:
    for block in (block for block in EVERY if block.page in ONLY_READ):
        for line in block.text.splitlines() if block.kind in ("bash", "sh") else ():
            _, found, arguments = f" {line}".replace("/bin/farm ", " farm ").rpartition(" farm ")
            if found and not line.lstrip().startswith("#"):
                stand_ins.read(shlex.split(arguments, comments=True))


def test_all_text_of_a_page_that_is_a_command_would_be_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("a\n\n    farm indented\n\n```bash\nfarm jobs\n```\n\n~~~\nfarm nothing\n~~~\n")
    found = [(block.line, block.kind) for block in blocks(str(page))]
    assert found == [(3, ""), (5, "bash"), (9, "")]
