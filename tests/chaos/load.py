"""The load that is held during every fault: submitters, watchers, downloaders, and job owners.

Each is a thread with a client of its own, and notes what it asked for and what came of it.
"""

from __future__ import annotations

import contextlib
import io
import random
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator
from datetime import timedelta

import grpc
import numpy as np
from PIL import Image

from svdfarm import (
    Client,
    Job,
    NewShot,
    RenderParams,
    Shot,
    ShotState,
    SvdfarmError,
)
from svdfarm.jobs import JobHandle
from svdfarm.v1 import render_service_pb2 as rpc
from svdfarm.v1.render_service_pb2_grpc import RenderServiceStub
from tests.chaos.history import Event, History
from tests.chaos.site import Site
from tests.chaos.worker import FRAMES, SIZE_PX, STEPS, Poison
from tests.running import IMAGES

_BACKLOG_SHOTS = 60
_PATIENCE_S = 60.0  # of watchers, for a farm that is away
_POISON_SHARE = 0.04
_STREAM_S = 30.0
_IMAGES = 8  # that are often nobody's any more, and sent again


class Load:
    """Clients of the farm at work; the seed says what they do."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._history: History = site.history
        self._lock = threading.Lock()
        self._jobs: list[str] = []
        self._begun: deque[str] = deque(maxlen=3)
        self._videos: list[Shot] = []
        self._submitted: list[Event] = []
        self._backlog = 0
        self.stopped = threading.Event()  # nobody asks for anything new
        self._left = threading.Event()  # nobody looks on any more
        self._threads: list[threading.Thread] = []
        plan = site.plan
        for work, count in (
            (self._submit, plan.submitters),
            (self._own, plan.owners),
            (self._watch, plan.watchers),
            (self._download, plan.downloaders),
            (self._measure, 1),
        ):
            for number in range(count):
                self._start(work, f"{work.__name__.strip('_')}-{number}", number)

    def _start(self, work: Callable[..., None], name: str, number: int) -> None:
        rng = random.Random(f"{self._site.plan.seed}/{name}")
        addresses = self._site.addresses
        client = Client(addresses[number % len(addresses)], connect_timeout_s=0, call_timeout_s=20)

        def run() -> None:
            with client:
                while not self.stopped.is_set():
                    try:
                        work(client, rng, number)
                    except SvdfarmError:
                        pass  # noted where it was made
                    except Exception as error:  # noqa: BLE001 - the checker tells it
                        self._history.tell("harness", error=f"{name}: {error!r}")
                        return
                    self.stopped.wait(rng.uniform(0.02, 0.2))

        thread = threading.Thread(target=run, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def leave(self, timeout_s: float = 20.0) -> list[str]:
        """Ends the looking on; returns whose streams do not end although their jobs have."""
        self._left.set()
        for thread in self._threads:
            thread.join(timeout_s)
        return [thread.name for thread in self._threads if thread.is_alive()]

    # submit

    def _submit(self, client: Client, rng: random.Random, number: int) -> None:
        if self._backlog > _BACKLOG_SHOTS:
            self.stopped.wait(0.2)
            return
        again = rng.random()
        if again < 0.2 and self._submitted:
            self._create(client, rng.choice(self._submitted))
        elif again < 0.25 and self._submitted:
            self._create(client, {**rng.choice(self._submitted), "name": "other content"})
        else:
            request = self._request(rng, number)
            while not self.stopped.is_set() and not self._create(client, request):
                self.stopped.wait(rng.uniform(0.1, 0.5))

    def _request(self, rng: random.Random, number: int) -> Event:
        """A new job, as its owner may have to send it several times."""
        with self._lock:
            first = len(self._submitted) * 100 + 1
            short = self._site.plan.jobs > 0
            request = {
                "request_id": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
                "name": f"of {number}",
                "priority": rng.choice([0, 0, 0, 50]),
                "seeds": list(range(first, first + (1 if short else rng.choice([1, 2, 3, 8])))),
                "steps": 1 if short else rng.choice(STEPS),
                "poison": 0 if short or rng.random() > _POISON_SHARE else rng.choice(list(Poison)),
                "image": rng.choice(["rocket.jpg", "of its own", f"{rng.randrange(_IMAGES)}"]),
            }
            self._submitted.append(request)
        return request

    def _create(self, client: Client, request: Event) -> bool:
        """Submits; True once the farm has answered."""
        try:
            job = submit(client, self._history, request)
        except SvdfarmError as error:
            return error.reason == "REQUEST_ID_REUSED"
        with self._lock:
            self._jobs.append(job.name)
        self._site.accepted.add(job.name)
        return True

    def _measure(self, client: Client, rng: random.Random, number: int) -> None:
        self._backlog = sum(
            job.shot_count
            - job.succeeded_shot_count
            - job.failed_shot_count
            - job.cancelled_shot_count
            for job in client.jobs()
        )
        self.stopped.wait(0.3)

    # own

    def _own(self, client: Client, rng: random.Random, number: int) -> None:
        self.stopped.wait(rng.uniform(0.1, 0.6))
        if not (name := self._recent(rng)):
            return
        job = client.job(name)
        act = rng.choices(
            ["cancel", "pause", "requeue", "delete", "prune", "priority"], [3, 3, 3, 2, 1, 1]
        )[0]
        if act == "prune":
            older = rng.uniform(15, 60)
            with self._history.call("prune", older_than_s=older):
                client.prune(timedelta(seconds=older))
            return
        with self._history.call(act, job=name):
            match act:
                case "cancel":
                    job.cancel()
                case "pause":
                    job.pause()
                case "requeue":
                    job.requeue(rng.choice([[], [ShotState.CANCELLED, ShotState.FAILED]]))
                case "delete":
                    job.delete()
                case "priority":
                    job.update(priority=rng.randrange(101))
        if act == "pause":
            self.stopped.wait(rng.uniform(0, 2))
            with self._history.call("resume", job=name):
                job.resume()

    def _recent(self, rng: random.Random) -> str:
        with self._lock:
            # Every second one is in the middle of its shots, as far as watchers know.
            jobs = (rng.random() < 0.5 and list(self._begun)) or self._jobs[-40:]
            return rng.choice(jobs) if jobs else ""

    # watch

    def _watch(self, client: Client, rng: random.Random, number: int) -> None:
        if not (name := self._recent(rng)):
            return
        patient = Client(self._site.addresses[0], connect_timeout_s=_PATIENCE_S)
        vanishes = rng.random() < 0.2
        with patient, self._history.call("watch", job=name, vanishes=vanishes) as told:
            last: dict[str, str] = {}
            for event in patient.job(name).watch():
                if isinstance(event, Shot):
                    last[event.name] = event.state
                    self._see(event)
                elif event.state.final:
                    told["state"] = event.state
                if (vanishes and rng.random() < 0.1) or self._left.is_set():
                    told["left"] = True
                    break
            told["shots"] = last

    def _see(self, shot: Shot) -> None:
        if not shot.state.final:
            if shot.state is ShotState.RENDERING:
                self._begun.append(shot.name.rpartition("/shots/")[0])
            return
        video = shot.video
        about = {"shot": shot.name, "state": shot.state, "attempt": shot.attempt_count}
        self._history.tell("seen", **about, sha256=video.sha256 if video else None)
        if video is not None:
            with self._lock:
                self._videos.append(shot)

    # download

    def _download(self, client: Client, rng: random.Random, number: int) -> None:
        with self._lock:
            found = rng.choice(self._videos[-60:]) if self._videos else None
        if found is None:
            return
        shot = found
        kind = ("fast", "slow", "vanishing")[number % 3]
        address = rng.choice(self._site.addresses)
        with self._history.call("download", shot=shot.name, kind=kind) as told:
            if kind == "fast":
                with Client(address, connect_timeout_s=_PATIENCE_S) as patient:
                    data = patient.job(shot.name.partition("/shots/")[0]).finished(shot).read()
                told["size_bytes"] = len(data)
                return
            request = rpc.DownloadVideoRequest(name=f"{shot.name}/video")
            with grpc.insecure_channel(address) as channel, contextlib.suppress(grpc.RpcError):
                call = RenderServiceStub(channel).DownloadVideo(request, timeout=_STREAM_S)
                for _ in call:
                    if kind == "vanishing":
                        break  # and the client with it, while it sends
                    self._left.wait(0.3)


def settle(site: Site, timeout_s: float) -> tuple[float, list[Job]]:
    """Lets every job go on until it has ended; returns how long that took, and what has not."""
    started, unsettled = threading.Event(), []
    deadline = timeout_s
    waited_s = 0.0
    with Client(site.addresses[0], connect_timeout_s=_PATIENCE_S) as client:
        while waited_s < deadline:
            unsettled = [job for job in client.jobs() if not job.state.final]
            if not unsettled:
                break
            for job in unsettled:
                if job.state == "PAUSED":
                    with contextlib.suppress(SvdfarmError):
                        client.job(job.name).resume()
            started.wait(0.5)
            waited_s += 0.5
    return waited_s, unsettled


def probe(site: Site) -> None:
    """Gives every worker something to do once faults are over, and notes who was there."""
    params = RenderParams(
        model="tiny", width_px=SIZE_PX, height_px=SIZE_PX, frame_count=FRAMES, step_count=30
    )
    for worker in site.workers:  # the last may have just been started again
        worker.ready.wait(_PATIENCE_S)
    with Client(site.addresses[0], connect_timeout_s=_PATIENCE_S) as client:
        job = client.submit([IMAGES / "rocket.jpg"] * (4 * len(site.workers)), params=params)
        job.wait(timeout_s=_PATIENCE_S)
    site.history.tell("probed", job=job.name, workers=[worker.said for worker in site.workers])


def submit(client: Client, history: History, request: Event) -> JobHandle:
    """Asks for a job, and notes what came of it. Raises SvdfarmError."""
    image = _image(request)
    shots = [
        NewShot(
            image,
            RenderParams(
                model="tiny",
                width_px=SIZE_PX,
                height_px=SIZE_PX,
                frame_count=FRAMES,
                step_count=request["steps"],
                seed=seed,
                motion_bucket_id=(request["poison"] if not index else 0) or 127,
            ),
            name=f"s{seed}",
        )
        for index, seed in enumerate(request["seeds"])
    ]
    with history.call("submit", **request) as told:
        job = client.submit(
            shots,
            display_name=request["name"],
            priority=request["priority"],
            request_id=request["request_id"],
        )
        told["job"] = job.name
    return job


@contextlib.contextmanager
def held(site: Site) -> Iterator[Load]:
    """The load for the length of a with block."""
    load = Load(site)
    try:
        yield load
    finally:
        load.stopped.set()


def _image(request: Event) -> bytes:
    name = str(request["image"])
    if name.endswith(".jpg"):
        return (IMAGES / name).read_bytes()
    return own_image(int(name) if name.isdecimal() else request["seeds"][0])


def own_image(seed: int) -> bytes:
    """A small picture that no other seed has."""
    colour = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(colour).save(file, "PNG")
    return file.getvalue()
