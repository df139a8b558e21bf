"""The workers connected here: what each said of itself, what it holds, how to tell it things."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from farm.gateway.convert import lease_to_wire
from farm.gateway.metrics import Device
from farm.jobs.params import ModelInfo
from farm.jobs.schedule import Shape, WorkerView
from farm.jobs.tiers import Tier, served_as
from farm.store.records import Lease
from farm.store.workers import Session
from svdfarm.v1 import resources_pb2 as pb
from svdfarm.v1 import session_service_pb2 as session_pb

# The next shot is sent when so much of the present one is rendered: late enough that it would
# hardly begin sooner elsewhere, and early enough to be there before the device is done.
SEND_AHEAD_AT = 0.8
_MAX_LEASES = 3  # of a worker: one is written and sent, one renders, one waits
_WARM_SHAPES = 8  # that a worker is known for; torch.compile keeps as many graphs by default


@dataclass
class Worker:
    """One live session with a worker."""

    id: str
    about: pb.Worker
    session: str = field(default_factory=lambda: secrets.token_hex(8))
    connect_time_s: float = field(default_factory=time.time)
    models: dict[str, ModelInfo] = field(default_factory=dict)
    leases: dict[str, Lease] = field(default_factory=dict)  # by token
    renewed_s: dict[str, float] = field(default_factory=dict)  # by token: when it was extended
    cancelled: set[str] = field(default_factory=set)  # tokens whose Cancel may precede Assign
    begun: dict[str, float] = field(default_factory=dict)  # by token: the share that is rendered
    letting_go: set[str] = field(default_factory=set)  # tokens it lost, and has yet to answer for
    warm: tuple[Shape, ...] = ()  # what it was given last, the latest last
    leaving: bool = False
    cordoned: bool = False
    last_heard_s: float = field(default_factory=time.monotonic)
    heartbeat: session_pb.Heartbeat | None = None  # the last
    last_moved_s: float = field(default_factory=time.monotonic)  # when a shot was seen to go on
    # None ends the session.
    outbox: asyncio.Queue[session_pb.SessionResponse | None] = field(default_factory=asyncio.Queue)

    @property
    def identities(self) -> dict[str, str]:
        """By model: of what weights and numerics it says that its clips are."""
        return {name: model.identity for name, model in self.models.items()}

    @property
    def served(self) -> frozenset[str]:
        """Its models, each in every tier that it says it has: see farm.jobs.tiers."""
        return frozenset(
            served_as(name, tier)
            for name, model in self.models.items()
            for tier in (Tier.EXACT, *model.tiers)
        )

    @property
    def device(self) -> Device:
        """What it said last of its device."""
        told = self.heartbeat
        if told is None:
            return Device(self.id, None, None, None)
        return Device(
            self.id,
            told.busy_duration.ToMicroseconds() / 1e6 if told.HasField("busy_duration") else None,
            told.memory_used_bytes if told.HasField("memory_used_bytes") else None,
            told.memory_total_bytes if told.HasField("memory_total_bytes") else None,
        )

    def as_told(self, gateway: str) -> Session:
        """As the store keeps it for every gateway."""
        state = "DRAINING" if self.leaving else "ACTIVE" if self.models else "STARTING"
        return Session(
            worker=self.id,
            id=self.session,
            gateway=gateway,
            about=self.about.SerializeToString(deterministic=True),
            models=self.served,
            state=state,
            connect_time_s=self.connect_time_s,
        )

    def view(self, silence_limit_s: float) -> WorkerView:
        """As the scheduler sees it; one that is silent for too long takes nothing."""
        heard = time.monotonic() - self.last_heard_s <= silence_limit_s
        near_end = self.begun.keys() == self.leases.keys() and all(
            share >= SEND_AHEAD_AT for share in self.begun.values()
        )
        return WorkerView(
            self.id,
            self.served,
            idle=heard and not self.leases and not self.letting_go,
            ahead=heard and near_end and not self.letting_go and len(self.leases) < _MAX_LEASES,
            leaving=self.leaving or self.cordoned,
            warm=self.warm,
        )

    def hold(self, lease: Lease, shape: Shape | None = None) -> None:
        """Notes a lease that it has from now on, and the shape that it will then be warm for."""
        if not self.leases:
            self.moved()
        self.leases[lease.token] = lease
        self.renewed_s[lease.token] = time.monotonic()
        if shape is not None:
            others = (other for other in self.warm if other != shape)
            self.warm = (*others, shape)[-_WARM_SHAPES:]

    def ahead(self) -> list[Lease]:
        """The shots that were sent ahead: they wait while it renders another one."""
        return [lease for lease in self.leases.values() if self.is_ahead(lease)]

    def is_ahead(self, lease: Lease) -> bool:
        """Whether a shot of its waits while it renders another one."""
        return bool(self.begun) and lease.token not in self.begun

    def rendered(self, lease: Lease, share: float) -> bool:
        """Notes how much of a shot is rendered; True: it may be sent the next one from now on."""
        self.moved()
        before = self.begun.get(lease.token, 0.0)
        self.begun[lease.token] = share
        return before < SEND_AHEAD_AT <= share

    def hear(self) -> float:
        """Notes that it was heard of; returns for how many seconds it was not."""
        before_s, self.last_heard_s = self.last_heard_s, time.monotonic()
        return self.last_heard_s - before_s

    def due(self, age_s: float) -> list[str]:
        """The tokens of leases that were given, or extended, so long ago."""
        since_s = time.monotonic() - age_s
        return [token for token, at_s in self.renewed_s.items() if at_s <= since_s]

    def renewed(self, token: str, at_s: float) -> None:
        """Notes that a lease of its was extended, if it still holds it."""
        if token in self.leases:
            self.renewed_s[token] = at_s

    def moved(self) -> None:
        """Notes that one of its shots goes on."""
        self.last_moved_s = time.monotonic()

    def drop(self, lease: Lease) -> None:
        """Notes that an attempt of its is over."""
        self.leases.pop(lease.token, None)
        self.renewed_s.pop(lease.token, None)
        self.cancelled.discard(lease.token)
        self.begun.pop(lease.token, None)
        self.moved()

    def is_stalled(self, limit_s: float) -> bool:
        """Whether it holds shots, is heard of, and none of them went on for so long."""
        return bool(self.leases) and time.monotonic() - self.last_moved_s > limit_s

    def holds(self, lease: Lease) -> bool:
        """Whether this is one of its leases, in every part."""
        return self.leases.get(lease.token) == lease

    def cancel(self, lease: Lease) -> None:
        """Tells it to let go of a shot."""
        self.cancelled.add(lease.token)
        cancel = session_pb.Cancel(lease=lease_to_wire(lease))
        self.send(session_pb.SessionResponse(cancel=cancel))

    def send(self, message: session_pb.SessionResponse) -> None:
        """Queues a message to the worker; one to a session that ended goes nowhere."""
        self.outbox.put_nowait(message)


class Workers:
    """Every live session by worker id: a worker's newer session replaces its older one."""

    def __init__(self) -> None:
        self._by_id: dict[str, Worker] = {}

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._by_id.values()))

    def staying(self) -> list[WorkerView]:
        """All but those that leave, with the models that they serve; from any thread."""
        return [
            WorkerView(worker.id, worker.served)
            for worker in self
            if not (worker.leaving or worker.cordoned)
        ]

    def __len__(self) -> int:
        return len(self._by_id)

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
