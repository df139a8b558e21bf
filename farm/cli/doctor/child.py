"""Programs that are asked something: they end in time, or are left behind."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

_KILL_S = 1.0


class NoAnswer(Exception):
    """The program did not end in time."""


@dataclass(frozen=True)
class Ran:
    """How a program ended, and what it said."""

    code: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """The end of what it said: of a traceback, the error itself."""
        lines = (self.err.strip() or self.out.strip()).splitlines()
        return lines[-1].strip() if lines else f"it said nothing and ended with code {self.code}"


def run(command: Sequence[str], timeout_s: float, given: bytes = b"") -> Ran:
    """Runs a program with `given` as its input. Raises NoAnswer, and OSError as Popen does.

    Not subprocess.run: after its timeout it waits for the end of the program it killed, and one
    that hangs inside a broken driver does not end.
    """
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        out, err = process.communicate(given, timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=_KILL_S)
        raise NoAnswer(f"{command[0]} did not end within {timeout_s:g} s") from None
    return Ran(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))
