"""Which torch is installed, whether it starts, and which GPUs it can use."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from farm.cli.doctor import child
from farm.cli.doctor.check import Check, fail, ok

# A first import from a slow disk takes many seconds.
TIMEOUT_S = 20.0
_CHILD = (sys.executable, "-W", "ignore", "-m", "farm.cli.doctor.torch_child")


@dataclass(frozen=True)
class Device:
    """A GPU as torch sees it."""

    name: str
    capability: str  # such as 9.0
    total_bytes: int
    free_bytes: int | None  # None where it cannot be used
    problem: str  # why it cannot be used; empty where it can


@dataclass(frozen=True)
class Torch:
    """An installed torch that can be imported."""

    version: str
    built_for: str | None  # such as CUDA 12.8; None for a CPU build
    problem: str  # why it can use no GPU at all; empty where nothing went wrong
    devices: tuple[Device, ...]

    @property
    def usable(self) -> bool:
        """Whether there is a GPU to render on."""
        return any(not device.problem for device in self.devices)


@dataclass(frozen=True)
class BrokenTorch:
    """An installed torch that does not start."""

    why: str


def probe(
    command: Sequence[str] = _CHILD, timeout_s: float = TIMEOUT_S
) -> Torch | BrokenTorch | None:
    """The torch of this environment; None where there is none."""
    if importlib.util.find_spec("torch") is None:
        return None
    try:
        ran = child.run(command, timeout_s)
    except child.NoAnswer:
        return BrokenTorch(f"it does not start within {timeout_s:g} s")
    if ran.code != 0:
        return BrokenTorch(ran.last_line)
    found = json.loads(ran.out.splitlines()[-1])
    devices = tuple(Device(**device) for device in found.pop("devices"))
    return Torch(**found, devices=devices)


def judge(torch: Torch | BrokenTorch | None) -> list[Check]:
    """Does it start, and what was it built for? Its version is judged with the other packages'."""
    match torch:
        case None:
            return []
        case BrokenTorch():
            again = "pip install --force-reinstall torch"
            advice = f"Install it again ({again}); if it hangs, look for GPU errors in dmesg."
            return [fail("torch", f"torch cannot be used: {torch.why}", advice)]
        case Torch():
            build = f"built for {torch.built_for}" if torch.built_for else "a build without CUDA"
            return [ok("torch", f"{torch.version}, {build}")]
