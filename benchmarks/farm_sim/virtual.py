"""A farm in virtual time: the real dispatcher and scheduler; workers, gateway and store are costs.

Real: `Dispatcher` (when it looks, whom it serves, in which groups), `claim_for`, `share` and
`assign` (who gets what), `Worker` (when it may take a shot). A model: the queue is in memory, and
what the gateway and its store take for each message and transaction is spent as measured. The
gateway's Python is one server that does one thing at a time, first come, first served; the writer
is another one, whose own work is done by the first.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, cast

from benchmarks.farm_sim import clockwork
from benchmarks.farm_sim.costs import Costs
from benchmarks.farm_sim.memory_queue import MemoryQueue
from farm.gateway.claiming import claim_for
from farm.gateway.dispatch import Dispatcher
from farm.gateway.feed import Feed
from farm.gateway.metrics import Metrics
from farm.gateway.traces import Traces
from farm.gateway.workers import SEND_AHEAD_AT, Worker, Workers
from farm.jobs.params import SVD_XT, RenderParams, resolve
from farm.store import leases
from farm.store.clock import Clock
from farm.store.records import Lease, ShotKey
from farm.store.room import Room
from farm.store.store import Store
from svdfarm.v1 import resources_pb2 as pb
from svdfarm.v1 import session_service_pb2 as session_pb

_GROUP_LIMIT = 256  # of farm.store.writer
_NETWORK_S = 0.001  # one way, between gateway and worker


@dataclass(frozen=True)
class Plan:
    """A farm and what it is to do."""

    workers: int
    shots: int  # after so many it is over
    clip_s: float
    costs: Costs
    spread: float = 0.05
    seed: int = 0
    heartbeat_s: float = 5.0


@dataclass
class Seen:
    """What came of it, from the end of the first clips to the beginning of the last ones."""

    began_s: float = 0.0
    ended_s: float = 0.0
    busy_s: float = 0.0  # of all devices
    gateway_s: float = 0.0  # that its Python worked
    writer_s: float = 0.0  # that the writer had a transaction open
    shots: Counter[ShotKey] = field(default_factory=Counter)  # how often each ended
    groups: int = 0
    changes: int = 0
    waits: dict[tuple[str, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    served: Counter[str] = field(default_factory=Counter)  # shots by tenant, while all wait


class _Server:
    """Does one thing at a time, first come, first served."""

    def __init__(self, idle_load: float = 0.0) -> None:
        """`idle_load` is the share of it that heartbeats and their like take all the time."""
        self._slower = 1 / (1 - idle_load) if idle_load < 1 else math.inf
        self._free_s = 0.0
        self.spent_s = 0.0

    async def spend(self, cpu_s: float) -> None:
        """Waits until it has done this."""
        now_s = asyncio.get_running_loop().time()
        self.spent_s += cpu_s
        self._free_s = max(now_s, self._free_s) + cpu_s * self._slower
        await asyncio.sleep(self._free_s - now_s)


class _Database:
    """Commits what waits together, as farm.store.writer does; `write` is Database.write."""

    def __init__(self, queue: MemoryQueue, gateway: _Server, costs: Costs, seen: Seen) -> None:
        self._queue = queue
        self._gateway = gateway
        self._costs = costs
        self._seen = seen
        self._waiting: deque[tuple[str, tuple[Any, ...], asyncio.Future[Any]]] = deque()
        self._wake = asyncio.Event()

    async def write(self, fn: Callable[..., Any], *args: Any, **_: Any) -> Any:
        """Returns after the commit."""
        return await self.submit(fn.__name__, *args)

    def submit(self, name: str, *args: Any) -> asyncio.Future[Any]:
        """As Database.submit, by the function's name."""
        done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._waiting.append((name, args, done))
        self._wake.set()
        return done

    async def run(self) -> None:
        """The writer's thread."""
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                began_s = loop.time()
                group = [
                    self._waiting.popleft() for _ in range(min(_GROUP_LIMIT, len(self._waiting)))
                ]
                results, sizes = [], Counter[str]()
                for name, args, _ in group:
                    results.append(self._make(name, args, sizes))
                cpu_s, wait_s = self._costs.group(sizes)
                await self._gateway.spend(cpu_s)
                await asyncio.sleep(wait_s)
                for (_, _, done), result in zip(group, results, strict=True):
                    done.set_result(result)
                self._seen.groups += 1
                self._seen.changes += len(group)
                self._seen.writer_s += loop.time() - began_s

    def _make(self, name: str, args: tuple[Any, ...], sizes: Counter[str]) -> Any:
        match name:
            case "claim_for":
                claimed = claim_for(cast(Any, None), *args, shots=cast(Any, self._queue))
                sizes["claim"] += len(claimed)
                sizes["look"] += 1
                return claimed
            case "take_back_expired":
                return []
        sizes[name] += 1
        return True


class _Blobs:
    async def read_whole(self, _: str) -> bytes:
        return b"image"


class SimWorker(Worker):
    """A session of the gateway's, and its worker at the other end."""

    farm: VirtualFarm

    def start(self, farm: VirtualFarm, model: Any) -> None:
        """Is ready for shots."""
        self.farm = farm
        self.models = {model.name: model}
        self.last_heard_s = math.inf  # it is never silent
        self.random = random.Random(self.id)
        self.todo: deque[Lease] = deque()
        self.since_s: float | None = None  # when its clip began
        self.first = True

    def send(self, message: session_pb.SessionResponse) -> None:
        """Hears from the gateway."""
        if message.WhichOneof("message") == "assign":
            lease = next(
                lease for lease in self.leases.values() if lease.token == message.assign.lease.token
            )
            self.farm.spawn(self._assigned(lease))

    async def _assigned(self, lease: Lease) -> None:
        await self.farm.gateway.spend(self.farm.plan.costs.send_s)
        await asyncio.sleep(_NETWORK_S)
        self.todo.append(lease)
        if self.since_s is None:
            self._begin()

    def _begin(self) -> None:
        loop, plan = asyncio.get_running_loop(), self.farm.plan
        lease, self.since_s = self.todo.popleft(), loop.time()
        share = self.random.uniform(0.1, 1) if self.first else 1.0  # not all end together
        self.first = False
        clip_s = plan.clip_s * share * self.random.uniform(1 - plan.spread, 1 + plan.spread)
        self.farm.spawn(self._tell(lease, 0.0))
        loop.call_later(clip_s * SEND_AHEAD_AT, self._almost, lease)
        loop.call_later(clip_s, self._end, lease)

    def _almost(self, lease: Lease) -> None:
        self.farm.spawn(self._tell(lease, SEND_AHEAD_AT))

    async def _tell(self, lease: Lease, share: float) -> None:
        """Progress, as SessionService takes it."""
        await asyncio.sleep(_NETWORK_S)
        await self.farm.gateway.spend(self.farm.plan.costs.message_s)
        if not self.holds(lease):
            return
        if lease.token not in self.begun:
            self.farm.database.submit(leases.start.__name__)
        if self.rendered(lease, share):
            self.farm.dispatcher.wake(self)

    def _end(self, lease: Lease) -> None:
        self.farm.rendered(self.since_s or 0.0)
        self.farm.spawn(self._done(lease))
        self.since_s = None
        if self.todo:
            self._begin()

    async def _done(self, lease: Lease) -> None:
        """The video and the report, as SessionService and Reports take them."""
        await asyncio.sleep(_NETWORK_S)
        await self.farm.gateway.spend(self.farm.plan.costs.publish_s)
        if self.rendered(lease, 1.0):
            self.farm.dispatcher.wake(self)
        await self.farm.database.submit("record")
        self.farm.ended(lease)
        self.farm.dispatcher.settled(self, lease)


class VirtualFarm:
    """A gateway's dispatcher among simulated workers; see `simulate`."""

    def __init__(self, plan: Plan) -> None:
        loop = asyncio.get_running_loop()
        self.plan = plan
        self.seen = Seen()
        self.over = asyncio.Event()
        params = resolve(RenderParams(), SVD_XT, seed=1)
        self.queue = MemoryQueue(params, loop.time)
        costs = plan.costs
        load = costs.idle_gateway_s * plan.workers / plan.heartbeat_s
        self.gateway = _Server(load)
        self.database = _Database(self.queue, self.gateway, costs, self.seen)
        store = _Store(self.database, loop.time)
        self.workers, room = Workers(), cast(Room, _Room())
        kept = cast(Store, store)
        self.dispatcher = Dispatcher(
            kept, self.workers, Feed(), room, math.inf, Metrics(), Traces(kept)
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._steady = False

    def spawn(self, coroutine: Any) -> None:
        """Runs what nobody waits for."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self) -> Seen:
        """Renders until so many shots are done."""
        running = [
            asyncio.create_task(self.dispatcher.run()),
            asyncio.create_task(self.database.run()),
        ]
        await asyncio.sleep(0)
        for number in range(self.plan.workers):
            worker = SimWorker(f"w{number:05}", pb.Worker())
            worker.start(self, SVD_XT)
            self.workers.join(worker)
            self.dispatcher.wake(worker)
        # The first clips are shorter, and begin when their workers come.
        asyncio.get_running_loop().call_later(2 * self.plan.clip_s, self._begin_to_look)
        await self.over.wait()
        for task in [*running, *self._tasks]:
            task.cancel()
        await asyncio.gather(*running, *self._tasks, return_exceptions=True)
        return self.seen

    def rendered(self, since_s: float) -> None:
        """A device has rendered since then."""
        if self._steady:
            now_s = asyncio.get_running_loop().time()
            self.seen.busy_s += now_s - max(since_s, self.seen.began_s)

    def ended(self, lease: Lease) -> None:
        """A shot has been committed."""
        self.seen.shots[lease.shot] += 1
        if len(self.seen.shots) >= self.plan.shots and not self.over.is_set():
            self.seen.ended_s = asyncio.get_running_loop().time()
            for worker in self.workers:
                if isinstance(worker, SimWorker) and worker.since_s is not None:
                    self.rendered(worker.since_s)
            self.seen.gateway_s = self.gateway.spent_s - self.seen.gateway_s
            self.over.set()

    def _begin_to_look(self) -> None:
        self._steady = True
        self.seen.began_s = asyncio.get_running_loop().time()
        self.seen.gateway_s = self.gateway.spent_s
        self.seen.writer_s = 0.0
        self.seen.groups = self.seen.changes = 0


class _Store:
    """As much of a Store as a Dispatcher uses."""

    def __init__(self, database: _Database, now_s: Callable[[], float]) -> None:
        self.database = database
        self.clock = Clock(wall_s=now_s, steady_s=now_s)
        self.blobs = _Blobs()
        self.lease_s = 30.0
        self.name = "simulated"


class _Room:
    def problem(self) -> str:
        return ""


def simulate(plan: Plan, fill: Callable[[MemoryQueue], Collection[Any] | None]) -> VirtualFarm:
    """Runs a farm to its end; `fill` queues its shots."""

    async def main() -> VirtualFarm:
        farm = VirtualFarm(plan)
        fill(farm.queue)
        await farm.run()
        return farm

    return clockwork.run(main())
