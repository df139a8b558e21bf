"""The farm's programs as processes that are started again whenever they end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Self

from tests.chaos.history import History
from tests.chaos.versions import ROOT
from tests.running import eventually

_LOOK_EVERY_S = 0.05
_START_AGAIN_S = 0.3  # after a start that failed: what it needs is away


class Program:
    """A gateway or a worker; `said` is what it says when it is ready.

    It runs the code that lies in `code`, where that was changed from its next start on.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, code: Path = ROOT) -> None:
        self.name = name
        self.code = code
        self.said = ""
        self.ready = threading.Event()
        self.peak_mb = 0
        self.killed = False  # by us
        self._command = command
        self._log = log
        self.start()

    def start(self) -> None:
        """Starts it; `ready` is set once it is."""
        self.ready.clear()
        self.killed = False
        with self._log.open("a") as log:
            self.process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.code,
                env={**os.environ, "PYTHONPATH": f"{self.code}:{self.code / 'client'}"},
            )
        threading.Thread(target=self._listen, args=[self.process], daemon=True).start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            word, _, said = line.strip().partition(" ")
            if word == "ready" and process is self.process:
                self.said = said
                self.ready.set()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal that ends it."""
        self.killed = True
        self.note_memory()
        self.process.send_signal(number)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Stops it for the length of a with block."""
        process = self.process
        process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            process.send_signal(signal.SIGCONT)

    def end(self) -> int:
        """Ends it for good; returns its code."""
        self.kill(signal.SIGTERM)
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def note_memory(self) -> None:
        """Looks at the most memory that it has had."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
                if line.startswith("VmHWM"):
                    self.peak_mb = max(self.peak_mb, int(line.split()[1]) // 1024)


class Supervisor:
    """Starts what ended again, and notes it. As a with block; programs may be added before."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor")
        self.programs: list[Program] = []

    def add(self, program: Program) -> Program:
        """Looks after one more, which is waited for."""
        self.programs.append(program)
        eventually(program.ready.is_set, 60)
        return program

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        for program in reversed(self.programs):
            program.note_memory()
            code = program.end()
            self._history.tell("ended", name=program.name, code=code, peak_mb=program.peak_mb)

    def _run(self) -> None:
        retry_at: dict[str, float] = {}
        while not self._stopping.wait(_LOOK_EVERY_S):
            for program in self.programs:
                if (code := program.process.poll()) is None:
                    continue
                if program.name not in retry_at:
                    was_ready = program.ready.is_set()
                    self._history.tell(
                        "exit",
                        name=program.name,
                        pid=program.process.pid,
                        code=code,
                        killed=program.killed,
                        was_ready=was_ready,
                    )
                    retry_at[program.name] = time.monotonic() + (0 if was_ready else _START_AGAIN_S)
                if time.monotonic() >= retry_at[program.name]:
                    del retry_at[program.name]
                    program.start()
