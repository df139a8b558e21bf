"""A worker as a process of its own: the real lease loop, a fake GPU and videos made beforehand.

    python -m tests.chaos.worker GATEWAY FOLDER CLIP RENDERS STEP_S

Its videos are the clip in CLIP, a real MP4, with a last box that holds the shot's seed: whole,
decodable, and nobody else's. A shot whose motion_bucket_id is a Poison's does that to it.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np

from farm.cluster.agent import Agent
from farm.jobs.params import TINY, RenderParams
from farm.jobs.retry import MemoryProfile
from farm.logs import configure_logs
from farm.render.errors import ClipNotFinite, RenderCancelled
from farm.render.renderer import Cancelled, OnStep, Rendered, Video
from tests.chaos.history import History


class Poison(IntEnum):
    """What a shot does at its third step, by its motion_bucket_id."""

    KILL = 255
    SEGFAULT = 254
    NOT_FINITE = 253
    HANG = 252  # until it is taken back
    MEMORY = 251  # it runs out of it, but with the smallest profile


FRAMES, SIZE_PX = 3, 64
STEPS = (5, 5, 10, 60)  # of jobs: the longest takes most of a lease
# Of a shot, by its seed: one chunk, or several, or more than a gateway takes in without its spool.
_PADDING_BYTES = (0, 150_000, 300_000, 450_000, 600_000, 900_000, 2_600_000)


def tag(seed: int) -> bytes:
    """What the video of a shot with this seed holds, and no other."""
    return b"chaos-seed=%d;" % seed


@dataclass(frozen=True)
class Clip(Rendered):
    """A rendered clip whose file is nearly made."""

    mp4: bytes = b""

    def write(self, path: Path) -> Video:
        """See `Rendered`: synced, and whole."""
        seed = self.params.seed or 0
        content = tag(seed) + bytes(_PADDING_BYTES[seed % len(_PADDING_BYTES)])
        data = self.mp4 + struct.pack(">I4s", 8 + len(content), b"free") + content
        with path.open("wb") as file:
            file.write(data)
            os.fsync(file.fileno())
        return Video(
            path=path,
            sha256=hashlib.sha256(data).hexdigest(),
            size_bytes=len(data),
            frame_count=FRAMES,
            width_px=SIZE_PX,
            height_px=SIZE_PX,
            fps=7,
            durations_s=self.durations_s,
            media_type=self.params.container.media_type,
        )


class ChaosRenderer:
    """Takes `step_s` a step, obeys cancel, and notes when it renders what."""

    info = TINY
    device = "fake"
    note: str | None = None

    def __init__(self, mp4: bytes, renders: History, step_s: float) -> None:
        self._mp4 = mp4
        self._renders = renders
        self._step_s = step_s

    def device_memory(self) -> None:
        """It has none."""

    def render(
        self,
        image: bytes,
        params: RenderParams,
        on_step: OnStep | None = None,
        cancelled: Cancelled | None = None,
        memory: MemoryProfile = MemoryProfile.AS_STARTED,
        previews: object = None,
    ) -> Rendered:
        """A clip for this seed."""
        about: Mapping[str, Any] = {"seed": params.seed, "pid": os.getpid()}
        started = time.perf_counter()
        self._renders.tell("begun", **about)
        for step in range(params.step_count or 0):
            if cancelled is not None and cancelled():
                self._renders.tell("stopped", **about, took_s=time.perf_counter() - started)
                raise RenderCancelled(f"Cancelled after step {step}.")
            time.sleep(self._step_s)
            if on_step is not None:
                on_step(step + 1, params.step_count or 0)
            if step == 2 and params.motion_bucket_id in set(Poison):
                took_s = time.perf_counter() - started
                poison = Poison(params.motion_bucket_id)
                self._renders.tell("poisoned", **about, took_s=took_s, poison=poison.name)
                _poison(poison, cancelled, memory)
        took_s = time.perf_counter() - started
        self._renders.tell("rendered", **about, took_s=took_s)
        return Clip(np.zeros((0, 0, 0, 0), np.float32), params, {"denoise": took_s}, {}, self._mp4)


def _poison(poison: Poison, cancelled: Cancelled | None, memory: MemoryProfile) -> None:
    match poison:
        case Poison.KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case Poison.SEGFAULT:
            ctypes.string_at(0)
        case Poison.NOT_FINITE:
            raise ClipNotFinite("The clip holds NaN.")
        case Poison.HANG:
            while cancelled is None or not cancelled():
                time.sleep(0.02)
            raise RenderCancelled("Cancelled while it hung.")
        case Poison.MEMORY:
            if memory < MemoryProfile.SMALLEST:
                raise MemoryError("out of memory")


def end_with_starter() -> None:
    """Ends this process when the one that started it is gone: it held our standard input."""

    def wait() -> None:
        while os.read(0, 1024):
            continue
        os._exit(1)

    threading.Thread(target=wait, name="end-with-starter", daemon=True).start()


def main() -> None:
    """Works until SIGTERM, then drains."""
    gateway, folder, clip, renders, step_s = sys.argv[1:]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    configure_logs()
    end_with_starter()
    agent = Agent(gateway, None, folder=Path(folder), version="chaos")
    agent.start()
    renderer = ChaosRenderer(Path(clip).read_bytes(), History(Path(renders)), float(step_s))
    agent.serve(renderer)
    print(f"ready {agent.id}", flush=True)
    signal.sigwait({signal.SIGTERM})
    agent.drain(3.0)
    agent.stop()


if __name__ == "__main__":
    main()
