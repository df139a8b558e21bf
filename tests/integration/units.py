"""systemd's units of deploy/systemd, run without systemd: what each says is what is started."""

from __future__ import annotations

import os
import re
import select
import shlex
import signal
import socket
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.netns import Host

FOLDER = Path(__file__).parents[2] / "deploy" / "systemd"
_INSTALLED = "/opt/svdfarm/bin"
BIN = Path(sys.executable).parent


def read(name: str) -> dict[str, list[str]]:
    """What a unit sets: each key with all of its values."""
    values: defaultdict[str, list[str]] = defaultdict(list)
    for line in (FOLDER / name).read_text().splitlines():
        if line and line[0] not in "#[":
            key, _, value = line.partition("=")
            values[key].append(value)
    return values


def read_environment(name: str) -> dict[str, str]:
    """What one of the files beside the units sets."""
    lines = (FOLDER / name).read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and line[0] != "#")


@dataclass
class Service:
    """A unit that runs on a host."""

    unit: Mapping[str, list[str]]
    host: Host
    environment: Mapping[str, str]
    process: subprocess.Popen[bytes]
    log: Path
    notified: socket.socket

    def wait_ready(self, timeout_s: float) -> None:
        """Waits for READY=1."""
        assert self.unit["Type"] == ["notify"]
        ready, _, _ = select.select([self.notified], [], [], timeout_s)
        assert ready, self.log.read_text()[-3000:]
        assert self.notified.recv(100) == b"READY=1"

    def wait_started(self, timeout_s: float) -> None:
        """Runs ExecStartPost, which waits for a program that does not notify."""
        (command,) = self.unit["ExecStartPost"]
        words = self.host.command(*_words(command, self.environment))
        subprocess.run(
            words,
            env=self.environment,
            timeout=timeout_s,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> int:
        """Stops it as systemd does, within TimeoutStopSec; returns its exit code."""
        assert self.unit["KillMode"] == ["mixed"]  # SIGTERM to the first process alone
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(float(self.unit["TimeoutStopSec"][0]))


@contextmanager
def running(
    name: str, host: Host, folder: Path, given: Mapping[str, str], wrapper: tuple[str, ...] = ()
) -> Iterator[Service]:
    """Runs a unit's ExecStart with the variables of its files, of which `given` replace some."""
    unit = read(name)
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}"}
    if "PYTHONPATH" in os.environ:
        environment["PYTHONPATH"] = os.environ["PYTHONPATH"]
    environment |= dict(value.split("=", 1) for value in unit["Environment"])
    for file in unit["EnvironmentFile"]:
        environment |= read_environment(Path(file).name)
    environment |= given
    socket_path = folder / f"{host.name}-{name}.notify"
    log = folder / f"{host.name}-{name}.log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified, log.open("wb") as output:
        notified.bind(str(socket_path))
        environment["NOTIFY_SOCKET"] = str(socket_path)
        process = subprocess.Popen(
            host.command(*wrapper, *_words(unit["ExecStart"][0], environment)),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment,
            cwd=folder,
        )
        with process:
            try:
                yield Service(unit, host, environment, process, log, notified)
            finally:
                process.kill()  # what it has started ends with its host's namespace


def _words(command: str, environment: Mapping[str, str]) -> list[str]:
    """A command line as systemd reads it: ${NAME} is one word, $NAME as many as it holds."""
    words: list[str] = []
    for word in shlex.split(command.replace(_INSTALLED, str(BIN))):
        if re.fullmatch(r"\$\w+", word):
            words += environment[word[1:]].split()
        else:
            words.append(re.sub(r"\$\{(\w+)\}", lambda found: environment[found[1]], word))
    return words
