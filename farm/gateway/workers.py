"""The workers connected here: what each said of itself, what it holds, how to tell it things."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from farm.jobs.params import ModelInfo
from farm.jobs.schedule import WorkerView
from farm.store.records import Lease
from farm.store.workers import Session
from svdfarm.v1 import resources_pb2 as pb
from svdfarm.v1 import session_service_pb2 as session_pb

SLOTS = 1  # shots that a worker holds at a time


@dataclass
class Worker:
    """One live session with a worker."""

    id: str
    about: pb.Worker
    session: str = field(default_factory=lambda: secrets.token_hex(8))
    connect_time_s: float = field(default_factory=time.time)
    models: dict[str, ModelInfo] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)  # by token
    cancelled: set[str] = field(default_factory=set)  # tokens whose Cancel may precede Assign
    started: set[str] = field(default_factory=set)  # tokens of shots that it has begun
    letting_go: set[str] = field(default_factory=set)  # tokens it lost, and has yet to answer for
    leaving: bool = False
    cordoned: bool = False
    last_heard_s: float = field(default_factory=time.monotonic)
    last_moved_s: float = field(default_factory=time.monotonic)  # when a shot was seen to go on
    # None ends the session.
    outbox: asyncio.Queue[session_pb.SessionResponse | None] = field(default_factory=asyncio.Queue)

    def as_told(self, gateway: str) -> Session:
        """As the store keeps it for every gateway."""
        state = "DRAINING" if self.leaving else "ACTIVE" if self.models else "STARTING"
        return Session(
            worker=self.id,
            id=self.session,
            gateway=gateway,
            about=self.about.SerializeToString(deterministic=True),
            models=frozenset(self.models),
            state=state,
            connect_time_s=self.connect_time_s,
        )

    def view(self, silence_limit_s: float) -> WorkerView:
        """As the scheduler sees it; one that is silent for too long takes nothing."""
        silent = time.monotonic() - self.last_heard_s > silence_limit_s
        return WorkerView(
            self.id,
            frozenset(self.models),
            free_slots=0 if silent else max(0, SLOTS - len(self.leases.keys() | self.letting_go)),
            leaving=self.leaving or self.cordoned,
        )

    def hold(self, lease: Lease) -> None:
        """Notes a lease that it has from now on."""
        self.leases[lease.token] = lease
        self.moved()

    def moved(self) -> None:
        """Notes that one of its shots goes on."""
        self.last_moved_s = time.monotonic()

    def drop(self, lease: Lease) -> None:
        """Notes that an attempt of its is over."""
        self.leases.pop(lease.token, None)
        self.cancelled.discard(lease.token)
        self.started.discard(lease.token)
        self.moved()

    def is_stalled(self, limit_s: float) -> bool:
        """Whether it holds shots, is heard of, and none of them went on for so long."""
        return bool(self.leases) and time.monotonic() - self.last_moved_s > limit_s

    def holds(self, lease: Lease) -> bool:
        """Whether this is one of its leases, in every part."""
        return self.leases.get(lease.token) == lease

    def send(self, message: session_pb.SessionResponse) -> None:
        """Queues a message to the worker; one to a session that ended goes nowhere."""
        self.outbox.put_nowait(message)


class Workers:
    """Every live session by worker id: a worker's newer session replaces its older one."""

    def __init__(self) -> None:
        self._by_id: dict[str, Worker] = {}

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._by_id.values()))

    def get(self, worker_id: str) -> Worker | None:
        """The live session of a worker."""
        return self._by_id.get(worker_id)

    def join(self, worker: Worker) -> None:
        """Puts a session in its place; an older one of the same worker is ended."""
        older = self._by_id.get(worker.id)
        self._by_id[worker.id] = worker
        if older is not None:
            older.outbox.put_nowait(None)

    def leave(self, worker: Worker) -> None:
        """Removes a session, unless a newer one took its place."""
        if self._by_id.get(worker.id) is worker:
            del self._by_id[worker.id]
