"""How the command ends: exit codes, and the one exception that ends it with a message."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """Exit codes. They never change meaning."""

    SUCCEEDED = 0
    REFUSED = 1  # usage, bad input, or a file that could not be saved
    SHOTS_FAILED = 2
    VIDEO_DIFFERS = 2  # of `farm verify`
    CANCELLED = 3
    TIMED_OUT = 4
    UNREACHABLE = 5
    INTERRUPTED = 130  # Ctrl-C, as shells have it


class CommandFailed(Exception):
    """Ends the command: `error: MESSAGE` on stderr, and the exit code."""

    def __init__(self, message: str, code: Exit = Exit.REFUSED) -> None:
        super().__init__(message)
        self.code = code
