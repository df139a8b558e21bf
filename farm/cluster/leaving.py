"""Workers that are told to go by whoever ends their machine, without gateway and token.

Each has a folder that only its own user may write to. A file `leave` there, which holds how many
seconds its shots may take, has it drain; a file `left` says that it has.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Collection
from pathlib import Path

import structlog

from farm.cluster.scratch import folders

log = structlog.get_logger()

_LOOK_EVERY_S = 0.2
_GRACE_S = 10.0  # for what is handed back, beyond the time that shots have
_LEAVE, _LEFT = "leave", "left"


def watch(folder: Path, stopped: threading.Event, drain: Callable[[float], None]) -> None:
    """Calls `drain` once, when the worker of `folder` is told to leave; ends with `stopped`."""
    while not stopped.wait(_LOOK_EVERY_S):
        if (within_s := _told(folder)) is not None:
            log.info("worker.told_to_leave", within_s=within_s)
            drain(within_s)
            (folder / _LEFT).touch()
            stopped.wait()


def leave(within_s: float, parent: Path | None = None) -> Collection[str]:
    """Has every worker of this user on this machine leave; returns those that did not in time."""
    found = folders(parent or Path(tempfile.gettempdir()))
    for folder in found:
        part = folder / f"{_LEAVE}.part"
        part.write_text(str(within_s))
        part.rename(folder / _LEAVE)
    deadline = time.monotonic() + within_s + _GRACE_S
    while staying := [folder for folder in found if _stays(folder)]:
        if time.monotonic() > deadline:
            break
        time.sleep(_LOOK_EVERY_S)
    return [folder.name for folder in staying]


def leave_cluster(within_s: float) -> Collection[str]:
    """The same on every node of the Ray cluster that this machine is a node of."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.init(address="auto", log_to_driver=False)
    try:
        asked = []
        for node in ray.nodes():
            if node["Alive"]:
                here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
                task = ray.remote(num_cpus=0)(leave).options(scheduling_strategy=here)
                asked.append(task.remote(within_s))
        return [name for told in ray.get(asked, timeout=within_s + 2 * _GRACE_S) for name in told]
    finally:
        ray.shutdown()


def _told(folder: Path) -> float | None:
    try:
        return float((folder / _LEAVE).read_text())
    except FileNotFoundError:
        return None


def _stays(folder: Path) -> bool:
    return folder.exists() and not (folder / _LEFT).exists()
