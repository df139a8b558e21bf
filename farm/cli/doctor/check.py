"""What one check of `farm doctor` found."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.StrEnum):
    """How a check ended. The words are the marks that the command prints."""

    OK = "ok"
    WARN = "warn"  # works, and the user should know
    FAIL = "fail"  # something will not work, or is dangerous


@dataclass(frozen=True)
class Check:
    """One line: `found` is a phrase without a full stop, `advice` the next step as a sentence."""

    name: str
    state: State
    found: str
    advice: str = ""


def ok(name: str, found: str, advice: str = "") -> Check:
    """A check that found nothing wrong."""
    return Check(name, State.OK, found, advice)


def warn(name: str, found: str, advice: str) -> Check:
    """A check that found what the user should know."""
    return Check(name, State.WARN, found, advice)


def fail(name: str, found: str, advice: str) -> Check:
    """A check that found what will not work, or is dangerous."""
    return Check(name, State.FAIL, found, advice)
