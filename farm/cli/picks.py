"""Which of a job's shots are meant on the command line: `3,7-9,rocket`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from farm.cli.exits import CommandFailed

if TYPE_CHECKING:
    from svdfarm import Shot


def choose(shots: Sequence[Shot], picks: str | None, option: str = "--shots") -> list[Shot]:
    """Those of `shots` that `picks` means; all without. Raises CommandFailed for one unknown."""
    if picks is None:
        return list(shots)
    by_word: dict[str, Shot] = {}
    for shot in shots:
        by_word |= {shot.display_name: shot, shot.name.rpartition("/")[2]: shot}
    chosen = {}
    for word in (word.strip() for word in picks.split(",")):
        for each in (word,) if word in by_word else _range(word):
            if each not in by_word:
                allowed = f"numbers from 1 to {len(shots)}, ranges such as 3-5, and names of shots"
                raise CommandFailed(f"{option} has {each!r}; allowed: {allowed}")
            chosen[by_word[each].name] = by_word[each]
    return [shot for shot in shots if shot.name in chosen]


def _range(word: str) -> Iterator[str]:
    first, dash, last = word.partition("-")
    if dash and first.isdecimal() and last.isdecimal() and len(last) < len("1000000"):
        yield from map(str, range(int(first), int(last) + 1))
    else:
        yield word
