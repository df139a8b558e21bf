"""Cleans up after a test run that is killed: its servers would run on, and their folders stay."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator


@contextlib.contextmanager
def reaper(script: str, *arguments: object) -> Iterator[None]:
    """Has `sh` run `script` if this process ends within the with block, and only then."""
    command = ["sh", "-c", f"read -r _; {script}", "reaper", *map(str, arguments)]
    # It waits for the other end of its standard input to close, in a session of its own: what
    # ends ours by its group does not end it.
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        process.kill()
        process.communicate()
