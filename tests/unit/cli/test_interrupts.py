from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from farm.cli.interrupts import insistent_interrupt

DROPS_THE_FIRST = """
import os, signal, threading
from farm.cli import interrupts

interrupts._AGAIN_S = 0.1

class Dropping:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass

try:
    with interrupts.insistent_interrupt():
        dropped = Dropping()
        del dropped
        print("goes on", flush=True)
        threading.Event().wait(20)
except KeyboardInterrupt:
    print("heard", flush=True)
"""


def test_an_interrupt_that_python_dropped_comes_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", DROPS_THE_FIRST], capture_output=True, text=True, timeout=60
    )

    assert done.stdout.split("\n")[:2] == ["goes on", "heard"]
    assert "Exception ignored" in done.stderr


def test_the_handler_before_is_there_afterwards() -> None:
    before = signal.getsignal(signal.SIGINT)
    thread_count = threading.active_count()

    with pytest.raises(KeyboardInterrupt), insistent_interrupt():
        os.kill(os.getpid(), signal.SIGINT)

    assert signal.getsignal(signal.SIGINT) is before
    assert threading.active_count() <= thread_count + 1  # it ends by itself
