"""Which of a job's shots are meant on the command line: `3,7-9,rocket`."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from farm.cli.exits import CommandFailed

if TYPE_CHECKING:
    from svdfarm import Shot

_RANGE = re.compile(r"([0-9]{1,6})-([0-9]{1,6})")
_EXACT = "shots/"  # before what is a number and no name


def choose(shots: Sequence[Shot], picks: str | None, option: str = "--shots") -> list[Shot]:
    """Those of `shots` that `picks` means; all without.

    Raises CommandFailed for a word that means no shot, or more than one.
    """
    if picks is None:
        return list(shots)
    words = _Words(shots, option)
    chosen = {number for word in picks.split(",") for number in words.numbers(word.strip())}
    return [shot for shot in shots if _number(shot) in chosen]


class _Words:
    """What each word means: a name, a number, a range of numbers, or `shots/` and one of those."""

    def __init__(self, shots: Sequence[Shot], option: str) -> None:
        self._option = option
        self._job = shots[0].name.rpartition(_EXACT)[0] if shots else ""
        self._numbers = {_number(shot) for shot in shots}
        self._by_name: defaultdict[str, list[str]] = defaultdict(list)
        for shot in shots:
            self._by_name[shot.display_name].append(_number(shot))

    def numbers(self, word: str) -> Iterator[str]:
        """Of the shots that a word means."""
        given = word.removeprefix(self._job).removeprefix(_EXACT)
        exact = given != word
        range_ = _RANGE.fullmatch(given)
        if range_ is None:
            yield self._one(given, exact=exact)
            return
        if not exact and (named := self._by_name.get(word)):
            told = f"the name of shot {named[0]} and a range"
            ways = f"{_EXACT}{named[0]} or {_EXACT}{word}"
            raise CommandFailed(f"{self._option}: {word} is {told}: say {ways}")
        first, last_number = int(range_[1]), int(range_[2])
        if first > last_number:
            told = f"allowed: {last_number}-{first}, the lower number first"
            raise CommandFailed(f"{self._option} has {word!r}; {told}")
        for number in range(first, last_number + 1):
            yield self._one(str(number), exact=exact)

    def _one(self, word: str, *, exact: bool) -> str:
        named = [] if exact else self._by_name.get(word, [])
        meant = {*named, *({word} & self._numbers)}
        if not meant:
            count = len(self._numbers)
            allowed = f"numbers from 1 to {count}, ranges such as 3-5, and names of shots"
            raise CommandFailed(f"{self._option} has {word!r}; allowed: {allowed}")
        if len(meant) > 1:
            told = f"the name of shot{'s' * (len(named) > 1)} {' and '.join(named)}"
            if word in meant and word not in named:
                told += f" and the number of shot {word}"
            ways = " or ".join(f"{_EXACT}{number}" for number in sorted(meant, key=int))
            raise CommandFailed(f"{self._option}: {word} is {told}: say {ways}")
        return meant.pop()


def _number(shot: Shot) -> str:
    return shot.name.rpartition("/")[2]
