"""GPUs, as nvidia-smi and torch see them. nvidia-smi itself is a script: there is no GPU here."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from farm.cli.doctor import gpu
from farm.cli.doctor.check import State
from farm.cli.doctor.gpu import Card, Driver
from farm.cli.doctor.torch_build import BrokenTorch, Device, Torch

GIB = 2**30
TWO_CARDS = """
echo '570.86.10, NVIDIA L4, 23034, 22000, 8.9'
echo '570.86.10, NVIDIA L4 MIG, [N/A], [N/A], 8.9'
"""
CARD = Card("NVIDIA L4", "23034", "22000", "8.9")
DRIVER = Driver("570.86.10", (CARD,))
DEVICE = Device("NVIDIA L4", "8.9", 22 * GIB, 21 * GIB, "")
CPU_BUILD = Torch("2.13.0+cpu", None, "", ())
CUDA_BUILD = Torch("2.13.0", "CUDA 13.0", "", (DEVICE,))
OLD_DRIVER = "The NVIDIA driver on your system is too old (found version 11040). Please update"
NO_DRIVER = "Found no NVIDIA driver on your system."
NO_GPUS = "No CUDA GPUs are available"


def blind(problem: str) -> Torch:
    return replace(CUDA_BUILD, problem=problem, devices=())


def with_device(**changes: object) -> Torch:
    return replace(CUDA_BUILD, devices=(replace(DEVICE, **changes),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("driver", "torch", "state", "found", "advice"),
    [
        (None, CPU_BUILD, State.OK, "no NVIDIA GPU found", ""),
        (None, blind(NO_DRIVER), State.OK, "no NVIDIA GPU found", ""),
        (None, None, State.OK, "no NVIDIA GPU found", ""),
        (Driver(), CPU_BUILD, State.OK, "no NVIDIA GPU found", ""),
        (
            DRIVER,
            CUDA_BUILD,
            State.OK,
            "0: NVIDIA L4, 22 GiB, compute capability 8.9, driver 570.86.10, 21 GiB free",
            "",
        ),
        (None, CUDA_BUILD, State.OK, "0: NVIDIA L4, 22 GiB, compute capability 8.9, 21 GiB", ""),
        (DRIVER, None, State.OK, "0: NVIDIA L4, 23034 MiB, 22000 MiB free", ""),
        (DRIVER, BrokenTorch("x"), State.OK, "0: NVIDIA L4, 23034 MiB, 22000 MiB free", ""),
        (DRIVER, CPU_BUILD, State.FAIL, "torch 2.13.0+cpu is a build without CUDA", "CUDA build"),
        (
            DRIVER,
            blind(OLD_DRIVER),
            State.FAIL,
            "driver 570.86.10 is too old for torch's CUDA 13.0",
            "Update NVIDIA's driver",
        ),
        (DRIVER, blind(NO_GPUS), State.FAIL, "torch sees none", "CUDA_VISIBLE_DEVICES"),
        (DRIVER, blind("CUDA unknown error\nsee"), State.FAIL, "CUDA unknown error", "Restart"),
        (
            DRIVER,
            with_device(problem="CUDA error: no kernel image is available", free_bytes=None),
            State.FAIL,
            "torch has no code for it",
            "supports 8.9",
        ),
        (
            DRIVER,
            with_device(problem="CUDA out of memory.\nmore", free_bytes=None),
            State.FAIL,
            "torch cannot use it: CUDA out of memory.",
            "nvidia-smi",
        ),
        (DRIVER, with_device(free_bytes=3 * GIB), State.WARN, "3 GiB free", "--model-offload"),
        (Driver(problem="mismatch"), CPU_BUILD, State.FAIL, "mismatch", "Restart"),
    ],
)
def test_what_torch_and_the_driver_see_is_told_apart(
    driver: Driver | None, torch: Torch | BrokenTorch | None, state: State, found: str, advice: str
) -> None:
    (check,) = gpu.judge(driver, torch, undriven=False, device="auto")

    assert check.state is state
    assert found in check.found
    assert advice in check.advice
    assert bool(check.advice) is (state is not State.OK)


def test_a_gpu_that_torch_does_not_see_beside_one_it_sees_is_told() -> None:
    two = Driver("570.86.10", (CARD, CARD))

    checks = gpu.judge(two, CUDA_BUILD, undriven=False, device="auto")

    assert [check.state for check in checks] == [State.OK, State.WARN]
    assert checks[1].found == "nvidia-smi lists 2 GPUs, and torch sees 1"


def test_a_card_without_a_driver_is_told() -> None:
    (check,) = gpu.judge(None, CPU_BUILD, undriven=True, device="auto")

    assert check.state is State.WARN
    assert "no driver" in check.found


def test_the_device_asked_for_decides_how_bad_it_is() -> None:
    (none,) = gpu.judge(None, CPU_BUILD, undriven=False, device="cuda")
    (unneeded,) = gpu.judge(DRIVER, CPU_BUILD, undriven=False, device="cpu")

    assert none.state is State.FAIL
    assert unneeded.state is State.WARN


@pytest.mark.parametrize(
    ("script", "driver"),
    [
        (
            TWO_CARDS,
            Driver("570.86.10", (CARD, Card("NVIDIA L4 MIG", "[N/A]", "[N/A]", "8.9"))),
        ),
        ("echo 'No devices were found'; exit 6", Driver()),
        (
            "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18",
            Driver(problem="Failed to initialize NVML: Driver/library version mismatch"),
        ),
        ("exit 9", Driver(problem="it said nothing and ended with code 9")),
        ("echo 'something, else'", Driver(problem="something, else")),
    ],
)
def test_what_nvidia_smi_says_is_read(script: str, driver: Driver, tmp_path: Path) -> None:
    assert gpu.probe_driver(program(tmp_path, script)) == driver


def test_an_nvidia_smi_that_hangs_is_left_behind(tmp_path: Path) -> None:
    started = time.monotonic()

    found = gpu.probe_driver(program(tmp_path, "exec sleep 60"), timeout_s=0.2)

    assert found is not None
    assert "did not end within 0.2 s" in found.problem
    assert time.monotonic() - started < 10


def test_no_nvidia_smi_is_no_driver(tmp_path: Path) -> None:
    assert gpu.probe_driver(str(tmp_path / "nvidia-smi")) is None


@pytest.mark.parametrize(
    ("vendor", "kind", "there"),
    [
        ("0x10de", "0x030000", True),
        ("0x10de", "0x030200", True),
        ("0x10de", "0x040300", False),  # its sound
        ("0x8086", "0x030000", False),
    ],
)
def test_an_nvidia_card_is_known_on_the_bus(
    vendor: str, kind: str, there: bool, tmp_path: Path
) -> None:
    device = tmp_path / "0000:01:00.0"
    device.mkdir()
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{kind}\n")
    (tmp_path / "unreadable").mkdir()

    assert gpu.probe_undriven(tmp_path) is there


def program(folder: Path, script: str) -> str:
    path = folder / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)
