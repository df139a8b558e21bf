"""Sends queued shots to free workers, and takes back what was lost.

Three tasks, started by `run` and ended with it: one assigns whenever something changed, one looks
for leases that ran out, one for those that another gateway took back or cancelled.
"""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Awaitable, Callable

import structlog

from farm.gateway.claiming import claim_for
from farm.gateway.convert import lease_to_wire
from farm.gateway.feed import Feed
from farm.gateway.images import Images, NoImage
from farm.gateway.metrics import Metrics
from farm.gateway.traces import Traces
from farm.gateway.workers import SEND_AHEAD_AT, Worker, Workers
from farm.jobs.retry import Reason
from farm.jobs.schedule import WorkerView, shape_of
from farm.jobs.states import ShotState, Wish
from farm.store import leases, workers
from farm.store.claims import Claim
from farm.store.records import Lease
from farm.store.room import Room
from farm.store.store import Store
from farm.wire import duration, memory_to_wire, params_to_wire
from svdfarm.v1 import session_service_pb2 as session_pb

log = structlog.get_logger()

_AT_ONCE = 64  # workers that are served in one transaction: the choice takes workers times shots
_GATHER_S = 0.05  # so many seconds' claims for workers that still render are made together
_PROGRESS_PER_S = 500  # messages, of all workers together: each costs what a query costs
_MAY_TELL_ALL = 50  # workers: each step of theirs is heard
_PROGRESS_INTERVAL_LIMIT_S = 30.0  # a clip that hangs is to be told from one that goes on
_PAUSE_AFTER_ERROR_S = 1.0


class Dispatcher:
    """The one place where shots are handed out."""

    def __init__(
        self,
        store: Store,
        workers: Workers,
        feed: Feed,
        room: Room,
        stall_s: float,
        metrics: Metrics,
        traces: Traces,
    ) -> None:
        self._store = store
        self._workers = workers
        self._metrics = metrics
        self._traces = traces
        self._feed = feed
        self._room = room
        self._stall_s = stall_s
        self._full = False
        self._free: dict[str, Worker] = {}  # those that may take a shot, as far as is known
        self._images = Images(store)
        self._wake = asyncio.Event()
        self._look = asyncio.Event()

    def wake(self, worker: Worker | None = None) -> None:
        """Says that a shot was queued or, with `worker`, that it may be given one."""
        if worker is not None and self._workers.get(worker.id) is worker:  # not of an older session
            self._free[worker.id] = worker
        self._wake.set()

    def look_after(self, job_ids: frozenset[str] | None) -> None:
        """Says that these jobs (None: any) were changed, whose shots may be held here."""
        held = {lease.shot.job_id for worker in self._workers for lease in worker.leases.values()}
        if held if job_ids is None else held & job_ids:
            self._look.set()

    async def run(self) -> None:
        """Dispatches until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._forever(self._dispatch))
            tasks.create_task(self._forever(self._take_back))
            tasks.create_task(self._forever(self._let_go))

    async def _forever(self, step: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await step()
            except Exception as error:  # a full disk, a store that is away: it may come back
                log.error("dispatch.failed", step=step.__name__, exc_info=error)
                await asyncio.sleep(_PAUSE_AFTER_ERROR_S)
                self.wake()

    async def _dispatch(self) -> None:
        await self._wake.wait()
        self._wake.clear()
        if not self.has_room() or not self._free:
            return
        # Each try is an attempt of a shot, though it costs it nothing.
        await asyncio.sleep(self._images.pause_s)
        if all(worker.leases for worker in self._free.values()):
            await asyncio.sleep(_GATHER_S)  # their devices have work: they are served together
            await asyncio.sleep(self._images.pause_s)  # one may have failed meanwhile
        alike: defaultdict[tuple[bool, frozenset[str]], list[Worker]] = defaultdict(list)
        for worker in self._free.values():
            alike[bool(worker.leases), worker.served].append(worker)
        for _, group in sorted(alike.items(), key=lambda item: item[0][0]):  # idle ones first
            await self._serve_alike(group)

    async def _serve_alike(self, group: list[Worker]) -> None:
        """Serves workers of the same models, until there is nothing for them."""
        free: list[tuple[Worker, WorkerView]] = []
        for worker in group:
            view = worker.view(self._store.lease_s)
            here = self._workers.get(worker.id) is worker
            if here and view.models and (view.idle or view.ahead) and not view.leaving:
                free.append((worker, view))
            elif self._free.get(worker.id) is worker:  # it says so when it may take one again
                del self._free[worker.id]
            if len(free) == _AT_ONCE:
                # No shot has failed on so many workers: what these cannot take is not there.
                if not await self._serve(free):
                    return
                free = []
        if free:
            await self._serve(free)

    async def _serve(self, free: list[tuple[Worker, WorkerView]]) -> int:
        """Claims for these workers and sends what it got; returns how many shots."""
        here = {worker.id: worker for worker, _ in free}
        now_s = self._store.clock.steady_s()
        claimed = await self._store.database.write(
            claim_for,
            [view for _, view in free],
            self._workers.staying,
            now_s + self._store.lease_s,
            now_s - workers.silence_limit_s(self._store.lease_s),
            self._store.clock.wall_s(),
            self._store.name,
        )
        for claim in claimed:
            worker, shape = here[claim.shot.worker or ""], shape_of(claim.shot.params)
            warm = shape in worker.warm
            (self._metrics.warm_claims if warm else self._metrics.cold_claims).inc()
            if claim.wait_s is not None:
                self._metrics.queue_wait.observe(claim.wait_s)
            self._traces.claimed(claim, warm=warm)
            worker.hold(claim.lease, shape)
        by_image: defaultdict[str, list[tuple[Worker, Claim]]] = defaultdict(list)
        for claim in claimed:
            by_image[claim.shot.image_sha256].append((here[claim.shot.worker or ""], claim))
        for sha256, of_image in by_image.items():
            # Not waited for: an image that is slow to come delays no other.
            self._tasks.create_task(self._send_all(sha256, of_image))
        return len(claimed)

    async def _send_all(self, sha256: str, claimed: list[tuple[Worker, Claim]]) -> None:
        """Sends claims of one image; one that cannot be sent is left to be taken back."""
        image: bytes | NoImage | None = None
        for worker, claim in claimed:
            try:
                image = image or await self._images.get(sha256)
                await self._send(worker, claim, image)
            except Exception as error:  # the store is away: nobody may renew this lease now
                log.error(
                    "assign.failed",
                    **claim.lease.ids,
                    worker=worker.id,
                    exc_info=error,
                )
                worker.drop(claim.lease)

    def has_room(self) -> bool:
        """Whether shots may start. Where they may not, `_take_back` looks again."""
        problem = self._room.problem()
        if bool(problem) != self._full:
            self._full = bool(problem)
            log.warning("disk.low" if problem else "disk.has_room", problem=problem)
            self._feed.wake_all()  # the jobs' notices changed
            self.wake()
        return not problem

    async def _send(self, worker: Worker, claim: Claim, image: bytes | NoImage) -> None:
        shot, lease = claim.shot, claim.lease
        if not worker.holds(lease):  # taken back meanwhile: it has nothing to let go of
            worker.letting_go.discard(lease.token)
            self.wake(worker)
            return
        if isinstance(image, NoImage):
            await self.fail(worker, lease, image.reason, image.message)
            return
        if self._workers.get(worker.id) is not worker:
            gone = "the worker left before the shot was sent"
            await self.fail(worker, lease, Reason.WORKER_DRAINED, gone)
            return
        if lease.token in worker.cancelled:
            await self.release(worker, lease)
            return
        self._metrics.bytes_out.inc(len(image))
        log.info("shot.assigned", **lease.ids, worker=worker.id)
        worker.send(
            session_pb.SessionResponse(
                assign=session_pb.Assign(
                    lease=lease_to_wire(lease),
                    params=params_to_wire(shot.params),
                    image=image,
                    image_sha256=shot.image_sha256,
                    memory_profile=memory_to_wire(claim.memory),
                    progress_interval=duration(self._progress_interval_s()),
                    tell_step=math.ceil((shot.params.step_count or 0) * SEND_AHEAD_AT),
                )
            )
        )

    def _progress_interval_s(self) -> float:
        """How often each worker is to tell progress, so that all together are heard."""
        count = len(self._workers)
        if count <= _MAY_TELL_ALL:
            return 0.0
        return min(count / _PROGRESS_PER_S, _PROGRESS_INTERVAL_LIMIT_S, self._stall_s / 3)

    async def fail(
        self,
        worker: Worker | None,
        lease: Lease,
        reason: Reason,
        message: str,
        *,
        gateway: str | None = None,
        lines: str | None = None,
    ) -> bool:
        """Ends an attempt without a video; `lines` is its log. False: the lease was lost before.

        With `gateway`, also where another one has adopted it since.
        """
        now_s = self._store.clock.wall_s()
        state = await self._store.database.write(
            leases.fail, lease, reason, message, now_s, gateway=gateway, log=lines
        )
        if state is not None:
            self._metrics.failed(reason, state)
            self._traces.ended(lease)
        log.info(
            "attempt.stale" if state is None else "attempt.failed",
            **lease.ids,
            worker=worker.id if worker else None,
            reason=str(reason),
            message=message,
        )
        self.settled(worker, lease)
        return state is not None

    async def release(self, worker: Worker, lease: Lease, lines: str | None = None) -> bool:
        """Ends an attempt that its worker let go of; as `fail`."""
        now_s = self._store.clock.wall_s()
        state = await self._store.database.write(leases.release, lease, now_s, log=lines)
        if state is ShotState.CANCELLED:
            self._metrics.cancelled()
        elif state is not None:  # nobody had asked for it
            self._metrics.failed(Reason.WORKER_DRAINED, state)
        if state is not None:
            self._traces.ended(lease)
        self.settled(worker, lease)
        return state is not None

    def settled(self, worker: Worker | None, lease: Lease) -> None:
        """Frees the slot of an attempt whose report was accepted or refused."""
        if worker is not None:
            worker.drop(lease)
        self._feed.end_progress(lease)
        self.wake(worker)

    def cancel(self, worker_id: str, lease: Lease) -> None:
        """Tells a worker to let go of a shot."""
        worker = self._workers.get(worker_id)
        if worker is not None:
            worker.cancel(lease)

    async def _let_go(self) -> None:
        await self._look.wait()
        self._look.clear()
        await self.let_go_of_lost(list(self._workers))

    async def let_go_of_lost(self, workers: list[Worker]) -> None:
        """Tells workers of leases that were lost or cancelled, or sent ahead and then paused."""
        held = [(worker, lease) for worker in workers for lease in worker.leases.values()]
        wishes = await self._store.database.read(leases.wishes, {worker.id for worker, _ in held})
        for worker, lease in held:
            wish = wishes.get(lease.token, Wish.CANCEL)
            goes_on = wish is Wish.RUN or (wish is Wish.PAUSE and not worker.is_ahead(lease))
            if not goes_on and worker.holds(lease) and lease.token not in worker.cancelled:
                self.cancel(worker.id, lease)

    async def _take_back(self) -> None:
        await asyncio.sleep(self._store.lease_s / 10)
        for connected in self._workers:
            # There may be room again, or GPU time for a tenant that had used its own.
            self.wake(connected)
            if connected.is_stalled(self._stall_s):
                await self._take_from_stalled(connected)
        clock = self._store.clock
        lost = await self._store.database.write(
            leases.take_back_expired, clock.steady_s(), clock.wall_s()
        )
        for held, state in lost:
            self._metrics.failed(Reason.WORKER_LOST, state)
            self._traces.ended(held.lease)
            log.warning(
                "lease.expired",
                **held.lease.ids,
                worker=held.worker,
            )
            worker = self._workers.get(held.worker)
            if worker is not None and worker.holds(held.lease):
                self._let_go_of(worker, held.lease)
            self.settled(worker, held.lease)

    async def _take_from_stalled(self, worker: Worker) -> None:
        """Takes every shot from a worker whose device hangs; it gets others once it lets go."""
        log.warning("worker.stalled", worker=worker.id, leases=len(worker.leases))
        reason, told = Reason.NO_PROGRESS, f"no step for {self._stall_s:g} s on {worker.id}"
        for lease in list(worker.leases.values()):
            self._let_go_of(worker, lease)
            await self.fail(worker, lease, reason, told)
            # Those that wait behind the first are nobody's fault.
            reason, told = Reason.WORKER_DRAINED, "its worker hangs in another shot"

    def _let_go_of(self, worker: Worker, lease: Lease) -> None:
        """Tells a worker of a shot that is taken from it; until it answers, its slot is taken."""
        worker.letting_go.add(lease.token)
        self.cancel(worker.id, lease)
