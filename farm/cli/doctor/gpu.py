"""The GPUs: what the driver sees, what torch can use, and why these differ."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from farm.cli.doctor import child
from farm.cli.doctor.check import Check, State, fail, ok, warn
from farm.cli.doctor.torch_build import BrokenTorch, Device, Torch

_GIB = 2**30
_TIMEOUT_S = 5.0
_QUERY = "driver_version,name,memory.total,memory.free,compute_cap"
# What diffusers' guide to SVD asks for with all its memory tricks together.
_SMALL_BYTES = 8 * _GIB
_CUDA_BUILD = "pip install --force-reinstall torch (on Linux its plain build has CUDA)"


@dataclass(frozen=True)
class Card:
    """A GPU as nvidia-smi sees it, in its own words: a part that it cannot tell is `[N/A]`."""

    name: str
    memory_mib: str
    free_mib: str
    capability: str


@dataclass(frozen=True)
class Driver:
    """What nvidia-smi tells."""

    version: str = ""
    cards: tuple[Card, ...] = ()
    problem: str = ""  # why it tells nothing


def probe_driver(program: str = "nvidia-smi", timeout_s: float = _TIMEOUT_S) -> Driver | None:
    """What the driver sees; None where there is no nvidia-smi."""
    try:
        ran = child.run(
            [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"], timeout_s
        )
    except (FileNotFoundError, PermissionError):
        return None
    except child.NoAnswer as error:
        return Driver(problem=str(error))
    if "no devices were found" in (ran.out + ran.err).lower():
        return Driver()
    rows = [[part.strip() for part in line.split(",")] for line in ran.out.splitlines() if line]
    if ran.code != 0 or any(len(row) != 5 for row in rows):
        return Driver(problem=ran.last_line)
    return Driver(rows[0][0] if rows else "", tuple(Card(*row[1:]) for row in rows))


def probe_undriven(devices: Path = Path("/sys/bus/pci/devices")) -> bool:
    """Whether an NVIDIA display controller is on the PCI bus, driver or not."""
    for device in devices.glob("*"):
        try:
            vendor, kind = (device / "vendor").read_text(), (device / "class").read_text()
        except OSError:
            continue
        if vendor.strip() == "0x10de" and kind.startswith("0x03"):
            return True
    return False


def judge(
    driver: Driver | None, torch: Torch | BrokenTorch | None, undriven: bool, device: str
) -> list[Check]:
    """A line for each GPU, or why there is none. `device`: auto, cpu or cuda, as for `farm up`."""
    checks = _judge(driver, torch, undriven, device)
    if device != "cpu":
        return checks
    return [replace(c, state=State.WARN) if c.state is State.FAIL else c for c in checks]


def _judge(
    driver: Driver | None, torch: Torch | BrokenTorch | None, undriven: bool, device: str
) -> list[Check]:
    if isinstance(torch, Torch) and torch.devices:
        checks = [_usable(n, found, driver) for n, found in enumerate(torch.devices)]
        return checks + _hidden(driver, len(torch.devices))
    if driver is not None and driver.problem:
        advice = "Restart the machine, or load the driver that belongs to nvidia-smi; see dmesg."
        return [fail("gpu", f"the NVIDIA driver does not answer: {driver.problem}", advice)]
    if driver is not None and driver.cards:
        return _unusable(driver, torch)
    if device == "cuda":
        return [fail("gpu", "no GPU, and the device asked for is cuda", "Take --device auto.")]
    if undriven:
        advice = "Install NVIDIA's driver; in a container, give it the GPU (docker run --gpus all)."
        return [warn("gpu", "an NVIDIA card is in this machine, and no driver for it", advice)]
    return [ok("gpu", "no NVIDIA GPU found")]


def _usable(number: int, device: Device, driver: Driver | None) -> Check:
    told = f"{number}: {device.name}, {device.total_bytes / _GIB:.0f} GiB"
    told += f", compute capability {device.capability}"
    if driver is not None and driver.version:
        told += f", driver {driver.version}"
    if "no kernel image" in device.problem:
        advice = f"Install a torch build whose CUDA supports {device.capability}, newer or older."
        return fail("gpu", f"{told}; torch has no code for it", advice)
    if device.problem:
        why = device.problem.splitlines()[0]
        advice = "See in nvidia-smi whether another program holds it, and in dmesg for its errors."
        return fail("gpu", f"{told}; torch cannot use it: {why}", advice)
    free_bytes = device.free_bytes or 0
    told += f", {free_bytes / _GIB:.0f} GiB free"
    if free_bytes < _SMALL_BYTES:
        advice = (
            "SVD may not fit: end what else runs there, or take farm up --model-offload "
            "--forward-chunking and a small decode_chunk_size."
        )
        return warn("gpu", told, advice)
    return ok("gpu", told)


def _hidden(driver: Driver | None, seen: int) -> list[Check]:
    listed = len(driver.cards) if driver is not None else 0
    if listed <= seen:
        return []
    found = f"nvidia-smi lists {listed} GPUs, and torch sees {seen}"
    return [warn("gpu", found, "Set CUDA_VISIBLE_DEVICES to those to use, or unset it for all.")]


def _unusable(driver: Driver, torch: Torch | BrokenTorch | None) -> list[Check]:
    """Cards that the driver sees, and no torch that can use them."""
    cards = [
        f"{n}: {card.name}, {card.memory_mib} MiB, {card.free_mib} MiB free, "
        f"compute capability {card.capability}, driver {driver.version}"
        for n, card in enumerate(driver.cards)
    ]
    if not isinstance(torch, Torch):  # told by a line of its own
        return [ok("gpu", card) for card in cards]
    if torch.built_for is None:
        why = f"torch {torch.version} is a build without CUDA"
        advice = f"Install a CUDA build: {_CUDA_BUILD}."
    elif "too old" in torch.problem:
        why = f"driver {driver.version} is too old for torch's {torch.built_for}"
        advice = "Update NVIDIA's driver, or install a torch build for an older CUDA."
    elif not torch.problem or "No CUDA GPUs are available" in torch.problem:
        why = "torch sees none"
        advice = "Unset CUDA_VISIBLE_DEVICES; in a container, give it the GPU."
    else:
        why = torch.problem.strip().splitlines()[0]
        advice = "Restart the machine; if it stays, install NVIDIA's driver again."
    return [fail("gpu", f"{card}; torch cannot use it: {why}", advice) for card in cards]
