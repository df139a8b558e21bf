"""Mistakes in a jobs.yaml: where they are, what is wrong, and how they are shown."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

import yaml

_SHOWN_AT_MOST = 10
_WIDTH = 100
_WORD_LIMIT = 40
_MESSAGE_LIMIT = 500


@dataclass(frozen=True)
class Place:
    """Where something stands in the file: line and column from 0, length in characters."""

    line: int
    column: int
    length: int

    @classmethod
    def of(cls, node: yaml.Node) -> Place:
        """The place of a node; of one that runs over several lines, its first line."""
        start, end = node.start_mark, node.end_mark
        length = end.column - start.column if end.line == start.line else _WIDTH
        return cls(start.line, start.column, max(1, length))


@dataclass(frozen=True)
class Mistake:
    """One thing that is wrong, and where; `hint` is a whole sentence."""

    place: Place
    message: str
    hint: str = ""


class JobsFileInvalid(Exception):
    """A jobs.yaml that cannot be submitted. Its text names file, line and column."""

    def __init__(self, path: str, text: str, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = sorted(set(mistakes), key=lambda m: (m.place.line, m.place.column))
        shown = [_show(path, text.split("\n"), m) for m in self.mistakes[:_SHOWN_AT_MOST]]
        left = len(self.mistakes) - len(shown)
        if left:
            shown.append(f"and {left} more")
        super().__init__("\n".join(shown))


class Findings:
    """Collects the mistakes of one file, so that all are told at once."""

    def __init__(self, path: str, text: str) -> None:
        self._path = path
        self._text = text
        self._mistakes: list[Mistake] = []

    def add(self, at: yaml.Node | Place, message: str, hint: str = "") -> None:
        """Notes a mistake."""
        place = at if isinstance(at, Place) else Place.of(at)
        if len(message) > _MESSAGE_LIMIT:
            message = message[:_MESSAGE_LIMIT] + "..."
        self._mistakes.append(Mistake(place, message, hint))

    def check(self) -> None:
        """Raises JobsFileInvalid if there is any mistake."""
        if self._mistakes:
            raise JobsFileInvalid(self._path, self._text, self._mistakes)


def did_you_mean(given: str, allowed: Iterable[str]) -> str:
    """A hint with the closest of `allowed`, or none."""
    if len(given) > _WORD_LIMIT:
        return ""
    close = difflib.get_close_matches(given.lower(), list(allowed), n=1)
    return f"Did you mean {close[0]}?" if close else ""


def _show(path: str, lines: list[str], mistake: Mistake) -> str:
    place = mistake.place
    line = lines[place.line].rstrip("\r") if place.line < len(lines) else ""
    # A window around the column: a data URL can make a line of a megabyte.
    cut = max(0, place.column - _WIDTH // 2) if len(line) > _WIDTH else 0
    seen = "".join(c if c.isprintable() else " " for c in line[cut : cut + _WIDTH])
    column = place.column - cut
    carets = "^" * max(1, min(place.length, len(seen.rstrip()) - column))
    number = str(place.line + 1)
    shown = [
        f"{path}:{place.line + 1}:{place.column + 1}: {mistake.message}",
        f"  {number} | {seen}",
        f"  {' ' * len(number)} | {' ' * column}{carets}",
    ]
    if mistake.hint:
        shown.append(f"  {mistake.hint}")
    return "\n".join(shown)
