"""The code of the documents: every fenced block, and every command within a line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
# Documents outside docs/ that tell somebody to type something.
OTHERS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "deploy/README.md")
# Pages whose shell does not run, with the reason: its syntax and its `farm` commands are read.
ONLY_READ = {
    "docs/HOSTS.md": "sets hosts up: systemd, root, several machines",
    "docs/OPERATIONS.md": "systemd, another user, a database to be lost",
}
_TITLE = re.compile(r'title="([^"]+)"')


@dataclass(frozen=True)
class Block:
    """A fenced block, or one that is only indented, whose kind is empty."""

    page: str
    line: int
    kind: str
    title: str | None  # the file that it is
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """Every document, by its path in the repository."""
    found = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("docs/**/*.md")]
    return [*OTHERS, *sorted(found)]


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page, in its order."""
    for token in MarkdownIt().parse((ROOT / page).read_text(encoding="utf-8")):
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            kind, _, rest = token.info.partition(" ")
            title = _TITLE.search(rest)
            yield Block(page, token.map[0] + 1, kind, title and title[1], token.content)


def links(page: str) -> Iterator[str]:
    """Where a page's links and pictures lead within the repository, by paths from its root."""
    for token in MarkdownIt().enable("table").parse((ROOT / page).read_text(encoding="utf-8")):
        for child in token.children or ():
            target = str(child.attrs.get("href") or child.attrs.get("src") or "")
            path = target.partition("#")[0]
            if path and ":" not in target:
                yield os.path.normpath(Path(page).parent / path)


def inline_commands(page: str) -> Iterator[tuple[str, str]]:
    """What stands in backticks within a line and begins with `farm`, with its place."""
    for token in MarkdownIt().enable("table").parse((ROOT / page).read_text(encoding="utf-8")):
        line = (token.map or [0])[0] + 1
        for child in token.children or ():
            if child.type == "code_inline" and child.content.startswith("farm "):
                yield f"{page}:{line}", " ".join(child.content.split())
