"""`farm up`: the gateway and the workers as child processes, started again when they die."""

from __future__ import annotations

import contextlib
import math
import os
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from farm.cli.connecting import as_arguments, told_to_the_user
from farm.cli.exits import CommandFailed
from farm.cli.own_tls import environment, gateway_arguments, own_tls
from farm.cli.readiness import tell_ready
from farm.gateway.tls_files import TlsFiles
from farm.jobs.params import NOTES
from farm.settings import NOT_FOR_WORKERS
from svdfarm import Client, errors
from svdfarm.resources import WorkerState
from svdfarm.target import SECURE
from svdfarm.tls import Tls

_GATEWAY_READY_S = 60.0
_GATEWAY_STOP_S = 15.0
_WORKERS_STOP_S = 90.0
_RESTART_LIMIT = 5  # deaths of one child within _RESTART_WINDOW_S
_RESTART_WINDOW_S = 120.0
_LOG_TAIL_LINES = 15


@dataclass(frozen=True)
class FarmSettings:
    """What `farm up` was asked for."""

    address: str
    http: str
    data: Path
    workers: int | None
    model: str | None
    device: str
    dtype: str | None
    engine: str
    model_offload: bool
    forward_chunking: bool
    memory: str
    deterministic: bool
    worker_address: str | None
    token: str | None
    worker_token: str | None = None  # None: one of this start alone
    database: str | None = None
    retention: str | None = None
    artifacts: str | None = None
    direct_upload: bool = False
    webhook_secret: str | None = None
    webhook_private: bool = False
    tls: TlsFiles | None = None
    worker_tls: Tls | None = None  # as it was given, for farms in general
    plaintext: bool = False
    open_metrics: bool = False
    public_url: str | None = None
    trusted_proxies: str | None = None


class Child:
    """One program of the farm: its process, its log, its `ready` line."""

    def __init__(
        self,
        name: str,
        arguments: list[str],
        log: Path,
        given: Mapping[str, str | None],
        *,
        without: Collection[str] = (),
    ) -> None:
        """`given` are secrets of its environment: not of its command line, which others see.

        `without` are variables of ours that it does not get.
        """
        self.name = name
        self.log = log
        self._arguments = arguments
        kept = {name: value for name, value in os.environ.items() if name not in without}
        self.environment = {**kept, **{name: value for name, value in given.items() if value}}
        self._process: subprocess.Popen[str] | None = None
        self._ready = threading.Event()
        self._deaths: list[float] = []
        self._log_start = 0  # of this run
        self.address = ""

    def pin_address(self) -> None:
        """After the first start: the next one has to be where this one was, chosen by port 0."""
        flag = self._arguments.index("--address")
        self._arguments[flag + 1] = self.address.removeprefix(SECURE)

    def start(self) -> None:
        """Starts the process; its log goes on where it was."""
        self._ready.clear()
        with self.log.open("a") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                [sys.executable, "-m", "farm", self.name, *self._arguments, "--stop-on-eof"],
                stdin=subprocess.PIPE,  # its end is our end, however that comes
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=self.environment,
                start_new_session=True,  # Ctrl-C comes to us, and we stop them in order
            )
        assert self._process.stdout is not None
        reader = threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True)
        reader.start()

    def wait_ready(self, timeout_s: float | None, stop: threading.Event) -> bool:
        """Waits for the `ready` line; False if told to stop. Raises CommandFailed."""
        deadline = time.monotonic() + (math.inf if timeout_s is None else timeout_s)
        while not self._ready.wait(0.1):
            if stop.is_set():
                return False
            if not self.alive:
                raise CommandFailed(f"the {self.name} ended before it was ready\n{self.tail()}")
            if time.monotonic() > deadline:
                raise CommandFailed(
                    f"the {self.name} is not ready after {timeout_s:g} s\n{self.tail()}"
                )
        return True

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def restart(self) -> None:
        """Starts it again after a death. Raises CommandFailed where it dies all the time."""
        now = time.monotonic()
        self._deaths = [t for t in self._deaths if now - t < _RESTART_WINDOW_S] + [now]
        if len(self._deaths) > _RESTART_LIMIT:
            raise CommandFailed(f"the {self.name} dies again and again\n{self.tail()}")
        self.start()

    def stop(self, timeout_s: float) -> None:
        """Tells it to stop, waits, and ends it if it does not."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.returncode:
            _say(f"the {self.name} ended with code {process.returncode}; its log: {self.log}")
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()

    def tail(self) -> str:
        """Why it ended, as far as its log tells."""
        with self.log.open(errors="replace") as log:
            log.seek(self._log_start)
            lines = log.read().splitlines()
        told = [index for index, line in enumerate(lines) if line.startswith("error: ")]
        # What the program said itself; where it could not, the last that it logged.
        lines = lines[told[-1] :] if told else lines[-_LOG_TAIL_LINES:]
        return "\n".join([*(f"  {line}" for line in lines), f"the whole log: {self.log}"])

    def _read(self, stdout: IO[str]) -> None:
        with contextlib.suppress(ValueError):  # closed by stop
            for line in stdout:
                word, _, address = line.strip().partition(" ")
                if word == "ready":
                    self.address = address
                    self._ready.set()


class FarmProcesses:
    """A farm on this machine for the length of a with block."""

    def __init__(self, settings: FarmSettings) -> None:
        self._settings = settings
        logs = settings.data / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        arguments = ["--address", settings.address, "--http", settings.http]
        arguments += ["--data", str(settings.data)]
        if settings.worker_address:
            arguments += ["--worker-address", settings.worker_address]
        if settings.retention is not None:
            arguments += ["--retention", settings.retention]
        if settings.artifacts is not None:
            arguments += ["--artifacts", settings.artifacts]
        if settings.public_url is not None:
            arguments += ["--public-url", settings.public_url]
        if settings.trusted_proxies is not None:
            arguments += ["--trusted-proxies", settings.trusted_proxies]
        arguments.append("--open-metrics" if settings.open_metrics else "--no-open-metrics")
        arguments.append("--direct-upload" if settings.direct_upload else "--no-direct-upload")
        arguments.append(
            "--webhook-private" if settings.webhook_private else "--no-webhook-private"
        )
        arguments.append("--plaintext" if settings.plaintext else "--no-plaintext")
        arguments += gateway_arguments(settings.tls)
        self._tls = own_tls(settings.tls, settings.worker_tls)
        self._worker_token = settings.worker_token or secrets.token_hex(32)
        given = {
            "FARM_TOKEN": settings.token,
            "FARM_WORKER_TOKEN": self._worker_token,
            "FARM_DATABASE": settings.database,
            "FARM_WEBHOOK_SECRET": settings.webhook_secret,
        }
        self.gateway = Child("gateway", arguments, logs / "gateway.log", given)
        self._workers: Child | None = None
        self._logs = logs

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._workers is not None:
            _say("stopping: the workers end their shots")
            self._workers.stop(_WORKERS_STOP_S)
        self.gateway.stop(_GATEWAY_STOP_S)
        _say("stopped")

    def run(self, stop: threading.Event) -> None:
        """Starts everything, says `ready`, and keeps it running until `stop` is set."""
        self.gateway.start()
        if not self.gateway.wait_ready(_GATEWAY_READY_S, stop):
            return
        self.gateway.pin_address()
        with told_to_the_user(), self._client() as client:
            try:
                list(client.workers())
            except errors.TlsFailed:
                raise  # before Ray starts, as no worker could come either
            except errors.SvdfarmError:
                pass  # such as a farm that lets nobody in without a token of its table
        http = self._settings.public_url or self._settings.http
        told = "" if http.endswith(":0") else f"  http {http}"
        _say(f"gateway  {self.gateway.address}{told}")
        _say(f"data     {self._settings.data}  logs {self._logs}")
        self._workers = self.worker()
        self._workers.start()
        _say("workers  starting ...")
        # As long as it takes: a first start may download 9 GB of weights.
        if not self._workers.wait_ready(None, stop):
            return
        self._say_workers(stop)
        tell_ready(self.gateway.address)
        while not stop.wait(0.5):
            for child in (self.gateway, self._workers):
                if not child.alive:
                    _say(f"the {child.name} died; starting it again")
                    child.restart()

    def worker(self) -> Child:
        """The workers' program; of our secrets it has one that is good for nothing else."""
        given = {"FARM_WORKER_TOKEN": self._worker_token, **environment(self._tls)}
        log = self._logs / "worker.log"
        arguments = self._worker_arguments()
        return Child("worker", arguments, log, given, without=NOT_FOR_WORKERS)

    def _worker_arguments(self) -> list[str]:
        settings = self._settings
        worker_address = settings.worker_address or self.gateway.address
        if settings.tls is not None:
            worker_address = SECURE + worker_address.removeprefix(SECURE)
        arguments = ["--gateway", worker_address]
        arguments.append("--plaintext" if settings.plaintext else "--no-plaintext")
        arguments += ["--device", settings.device, "--engine", settings.engine]
        if settings.dtype is not None:
            arguments += ["--dtype", settings.dtype]
        if settings.model_offload:
            arguments.append("--model-offload")
        if settings.forward_chunking:
            arguments.append("--forward-chunking")
        arguments += ["--memory", settings.memory]
        if settings.deterministic:
            arguments.append("--deterministic")
        if settings.workers is not None:
            arguments += ["--workers", str(settings.workers)]
        if settings.model is not None:
            arguments += ["--model", settings.model]
        return arguments

    def _client(self) -> Client:
        secured = as_arguments(self._tls, plaintext=self._settings.plaintext)
        return Client(self.gateway.address, self._settings.token, **secured)

    def _say_workers(self, stop: threading.Event) -> None:
        """Waits until the gateway lists an ACTIVE worker, and tells who there is."""
        deadline = time.monotonic() + _GATEWAY_READY_S
        with self._client() as client:
            while not stop.wait(0.1):
                try:
                    active = [w for w in client.workers() if w.state == WorkerState.ACTIVE]
                    if active:
                        break
                except errors.Unreachable:
                    pass
                except errors.Unauthenticated:  # it has tokens, and we were not given one
                    _say("workers  ready; farm workers shows them to a token with scope operate")
                    return
                if time.monotonic() > deadline:
                    raise CommandFailed("the workers did not reach the gateway")
            else:
                return
        for worker in active:
            served = ", ".join(model.name for model in worker.models)
            note = f" ({NOTES[served]})" if served in NOTES else ""
            _say(
                f"worker   {worker.name.removeprefix('workers/')}  {worker.device}  {served}{note}"
            )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the command's own output
