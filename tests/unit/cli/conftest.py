from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from farm.cli.app import run
from tests.unit.client.conftest import client, farm, photo
from tests.unit.client.running_farm import RunningFarm

__all__ = ["client", "farm", "photo"]


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Command = Callable[..., Ended]


@pytest.fixture
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, and no settings in the environment."""
    for name in os.environ:
        if name.startswith("FARM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def command(cwd: Path, capfd: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process, its output into a pipe."""

    def command(*args: str | Path) -> Ended:
        capfd.readouterr()
        code = run([str(arg) for arg in args])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        assert "\x1b" not in out + err
        return Ended(code, out, err)

    return command


@pytest.fixture
def on_farm(farm: RunningFarm, command: Command, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs the command with FARM_ADDRESS set to a farm with one worker."""
    monkeypatch.setenv("FARM_ADDRESS", farm.address)
    return command


@pytest.fixture
def jobs_yaml(cwd: Path, photo: Path) -> Callable[..., Path]:
    """Writes a jobs.yaml of small shots; its arguments are the shots' settings."""

    def write(*shots: str, defaults: str = "", name: str = "jobs.yaml") -> Path:
        path = cwd / name
        small = "model: tiny, size: 64x64, frames: 3, steps: 2"
        lines = [f"defaults: {{{small}{', ' + defaults if defaults else ''}}}", "shots:"]
        lines += [f"  - {{image: {photo}, {shot}}}" for shot in shots]
        path.write_text("\n".join(lines) + "\n")
        return path

    return write
