"""One hostile input, and how it must end."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Content = TypeVar("Content")


class Verdict(enum.Enum):
    """What the farm must say."""

    TAKEN = "taken"
    REFUSED = "refused"
    EITHER = "either"  # broken, and perhaps not so badly


@dataclass(frozen=True)
class Case(Generic[Content]):
    name: str
    content: Content
    verdict: Verdict


@dataclass
class Tally:
    """How many ended how; `wrong` are those that did not end as they must."""

    counts: Counter[Verdict] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def note(self, case: Case[Content], said: str | None) -> None:
        """Counts a case that was refused with these words, or, with None, taken."""
        verdict = Verdict.TAKEN if said is None else Verdict.REFUSED
        self.counts[verdict] += 1
        if case.verdict not in (verdict, Verdict.EITHER):
            self.wrong.append(f"{case.name}: {verdict.value}, not {case.verdict.value}: {said}")

    @property
    def count(self) -> int:
        return self.counts.total()


def try_all(
    cases: Iterable[Case[Content]], ask: Callable[[Content], object], refusal: type[Exception]
) -> Tally:
    """What `ask` says to each; any error but a `refusal` goes through."""
    tally = Tally()
    for case in cases:
        try:
            ask(case.content)
        except refusal as error:
            tally.note(case, str(error))
        else:
            tally.note(case, None)
    return tally
