"""A farm at work whose gateway's every write is noted, and what it promised when."""

from __future__ import annotations

import contextlib
import random
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from svdfarm import Client, NewShot, RenderParams, Shot, SvdfarmError
from tests.chaos.load import own_image
from tests.chaos.preloaded import preloaded
from tests.chaos.processes import Program
from tests.chaos.site import make_clip
from tests.chaos.worker import FRAMES, SIZE_PX
from tests.running import eventually, free_port

_SUBMITTERS = 3
_WORKERS = 2
_LEASE_S = 2.0
_STEP_S = 0.01


@dataclass(frozen=True)
class Promise:
    """What a client was told: from this moment on it has to be true."""

    time_ns: int  # of CLOCK_MONOTONIC
    what: str  # job, video or deleted
    job_id: str
    number: int = 0  # of the shot, of a video
    sha256: str = ""  # of the video, or of the job's image
    seeds: tuple[int, ...] = ()  # of the job's shots


class Promises:
    """All of them, from any thread; `deleting` has the jobs of which a deletion was begun, when."""

    def __init__(self) -> None:
        self.made: list[Promise] = []
        self.deleting: dict[str, int] = {}
        self._lock = threading.Lock()

    def note(self, what: str, job: str, **about: object) -> None:
        """Notes one that was made just now."""
        promise = Promise(time.monotonic_ns(), what, job.removeprefix("jobs/"), **about)  # type: ignore[arg-type]
        with self._lock:
            self.made.append(promise)


@contextlib.contextmanager
def _started(program: Program) -> Iterator[Program]:
    try:
        eventually(program.ready.is_set, 60)
        yield program
    finally:
        program.end()


def record(folder: Path, seconds: float, seed: int) -> tuple[Path, Promises]:
    """Runs a farm whose data folder is `folder`/data; returns the journal and the promises."""
    data, journal = folder / "data", folder / "journal"
    data.mkdir(parents=True)
    promises, stopped = Promises(), threading.Event()
    clip = folder / "clip.mp4"
    make_clip(clip)
    (folder / "workers").mkdir()
    with contextlib.ExitStack() as stack:
        address = f"127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "tests.chaos.gateway", f"--address={address}"]
        command += [f"--data={data}", f"--lease-s={_LEASE_S}", "--reserve-bytes=0"]
        noted = {"JOURNAL": str(journal), "JOURNAL_ROOT": str(data)}
        command = [*preloaded(Path(__file__).parent / "journal.c", folder, **noted), *command]
        stack.enter_context(_started(Program("gateway", command, folder / "gateway.log")))
        for number in range(_WORKERS):
            command = [sys.executable, "-m", "tests.chaos.worker", address]
            command += map(str, [folder / "workers", clip, folder / "renders.jsonl", _STEP_S])
            log = folder / f"worker-{number}.log"
            stack.enter_context(_started(Program(f"worker-{number}", command, log)))
        threads = [
            threading.Thread(target=_submit, args=[address, f"{seed}/{number}", promises, stopped])
            for number in range(_SUBMITTERS)
        ]
        for thread in threads:
            thread.start()
        threading.Event().wait(seconds)
        stopped.set()
        for thread in threads:
            thread.join()
    return journal, promises


def _submit(address: str, seed: str, promises: Promises, stopped: threading.Event) -> None:
    """Submits jobs, sees their videos come, and deletes some."""
    rng = random.Random(seed)
    with Client(address, connect_timeout_s=20) as client:
        while not stopped.is_set():
            seeds = tuple(rng.sample(range(1, 10**6), rng.choice([1, 2, 5])))
            shots = [NewShot(own_image(seeds[0]), _params(each), name=f"s{each}") for each in seeds]
            job = client.submit(shots, request_id=str(uuid.UUID(int=rng.getrandbits(128))))
            promises.note("job", job.name, seeds=seeds)
            with contextlib.suppress(SvdfarmError):  # whatever breaks: promises are checked later
                for event in job.watch(timeout_s=60):
                    if isinstance(event, Shot) and event.video is not None:
                        about = {"number": int(event.name.rpartition("/")[2])}
                        promises.note("video", job.name, sha256=event.video.sha256, **about)
            if rng.random() < 0.3:
                promises.deleting[job.name.removeprefix("jobs/")] = time.monotonic_ns()
                with contextlib.suppress(SvdfarmError):
                    job.delete()
                    promises.note("deleted", job.name)


def _params(seed: int) -> RenderParams:
    return RenderParams(
        model="tiny",
        width_px=SIZE_PX,
        height_px=SIZE_PX,
        frame_count=FRAMES,
        step_count=2,
        seed=seed,
    )
