"""Ctrl-C that is heard."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_AGAIN_S = 2.0  # longer than what is interrupted takes to end


@contextmanager
def insistent_interrupt() -> Iterator[None]:
    """Within it SIGINT raises KeyboardInterrupt, again every two seconds until the block ends.

    Python runs a signal's handler wherever the main thread is. Where that is a destructor or a
    callback of C code, the exception is dropped, and the command would wait for ever.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    main = threading.get_ident()
    over = threading.Event()

    def insist() -> None:
        while not over.wait(_AGAIN_S):
            signal.pthread_kill(main, signal.SIGINT)

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        threading.Thread(target=insist, name="interrupt", daemon=True).start()
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        over.set()
        signal.signal(signal.SIGINT, before)
