"""All checks, made side by side within one time limit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from farm.cli.connecting import Secured
from farm.cli.doctor import (
    gateway,
    gpu,
    images,
    install,
    machine,
    model,
    ports,
    ray_ports,
    torch_build,
)
from farm.cli.doctor.check import Check, fail

LIMIT_S = 30.0

Value = TypeVar("Value")
Group = Callable[[], Sequence[Check]]


@dataclass(frozen=True)
class Wanted:
    """What `farm up` would be started with."""

    address: str
    token: str | None
    http: str
    data: Path
    model: str | None  # None: the default of this machine
    device: str
    hub_token_set: bool
    secured: Secured
    worker_address: str | None


def examine(wanted: Wanted) -> Iterator[Check]:
    """Every check, in the order in which they are shown."""
    torch = start(torch_build.probe)
    driver = start(gpu.probe_driver)

    def gpus() -> Sequence[Check]:
        undriven = gpu.probe_undriven()
        return gpu.judge(driver.result(), torch.result(), undriven, wanted.device)

    def models() -> Sequence[Check]:
        found = torch.result()
        usable = isinstance(found, torch_build.Torch) and found.usable
        on_gpu = wanted.device != "cpu" and usable
        return model.check_model(wanted.model, on_gpu, wanted.hub_token_set)

    yield from ended(
        {
            "python": install.check_python,
            "packages": install.check_packages,
            "torch": lambda: torch_build.judge(torch.result()),
            "ffmpeg": install.check_ffmpeg,
            "images": images.check_images,
            "gpu": gpus,
            "cpu": lambda: [machine.judge_machine(machine.probe_machine())],
            "data": lambda: [machine.judge_disk(wanted.data, machine.probe_disk(wanted.data))],
            "model": models,
            "gateway": lambda: gateway.check_gateway(
                wanted.address, wanted.token, wanted.secured, wanted.worker_address
            ),
            "http": lambda: ports.check_http(wanted.http, wanted.address),
            "ray": ray_ports.check_ray,
        },
        LIMIT_S,
    )


def ended(groups: Mapping[str, Group], limit_s: float) -> Iterator[Check]:
    """What each group found. One that fails or hangs is told as that, and stops no other."""
    deadline = time.monotonic() + limit_s
    started = {name: start(group) for name, group in groups.items()}
    for name, future in started.items():
        try:
            yield from future.result(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            advice = "Look for a disk, a driver or a network that hangs; see dmesg."
            yield fail(name, f"no answer within {limit_s:g} s", advice)
        except ModuleNotFoundError:
            continue  # of the [server] extra: the check of the packages tells it
        except Exception as error:  # noqa: BLE001 - on an odd machine the others go on
            told = f"this check broke: {type(error).__name__}: {error}"
            yield fail(name, told, "Please report it, with this line.")


def start(ask: Callable[[], Value]) -> Future[Value]:
    """Runs `ask` in a thread that nobody waits for at the end: a dead disk can hold it for ever."""
    future: Future[Value] = Future()

    def run() -> None:
        try:
            future.set_result(ask())
        except Exception as error:  # noqa: BLE001 - raised where the result is taken
            future.set_exception(error)

    threading.Thread(target=run, name="doctor", daemon=True).start()
    return future
