"""A farm whose seconds cost nothing: workers, shapes, arrivals and delays, all by `assign`."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from farm.jobs.schedule import Candidate, Shape, WorkerView, assign

MODELS = frozenset({"svd"})
SEND_AHEAD_AT = 0.8


@dataclass(frozen=True)
class Times:
    """What things take, in seconds."""

    render_s: float = 8.0
    compile_s: float = 60.0
    way_s: float = 0.05  # one message between gateway and worker, with an image or a video


@dataclass
class Life:
    """What became of a shot."""

    shot: Candidate
    arrival_s: float
    start_s: float = float("nan")
    overtaken_count: int = 0  # by shots of its priority that came later

    @property
    def wait_s(self) -> float:
        return self.start_s - self.arrival_s


@dataclass
class SimWorker:
    """A device, and what the gateway knows of it."""

    name: str
    graph_count: int  # that its engine keeps
    graphs: list[Shape] = field(default_factory=list)  # the latest last
    rendering: str | None = None
    waiting: str | None = None
    # The gateway's side, which hears of everything `way_s` later.
    held: set[str] = field(default_factory=set)
    near_end: set[str] = field(default_factory=set)
    given: list[Shape] = field(default_factory=list)


class Farm:
    """Runs shots to their end; `send_ahead` and `know_warm` turn those parts of the rule off."""

    def __init__(
        self,
        worker_count: int,
        *,
        times: Times | None = None,
        graph_count: int = 8,
        send_ahead: bool = True,
        know_warm: bool = True,
    ) -> None:
        self.times = times or Times()
        self.send_ahead = send_ahead
        self.know_warm = know_warm
        self.workers = [SimWorker(f"w{n}", graph_count) for n in range(worker_count)]
        self.lives: dict[str, Life] = {}
        self.compile_count = 0
        self.now_s = 0.0
        self._queue: list[Candidate] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._serial = itertools.count()
        self._idle_s = self._backlog_s = 0.0  # of devices, while shots are queued

    @property
    def idle_share(self) -> float:
        """Of the devices' time while shots were queued, how much of it they did nothing."""
        return self._idle_s / self._backlog_s

    @property
    def waits_s(self) -> list[float]:
        return [life.wait_s for life in self.lives.values()]

    def run(self, arrivals: Iterable[tuple[float, Candidate]]) -> None:
        """Until every shot is rendered."""
        for arrival_s, shot in arrivals:
            self._at(arrival_s, lambda shot=shot: self._arrive(shot))
        while self._events:
            now_s, _, event = heapq.heappop(self._events)
            self._account(now_s - self.now_s)
            self.now_s = now_s
            event()
        assert all(life.start_s >= life.arrival_s for life in self.lives.values())

    def _account(self, passed_s: float) -> None:
        if self._queue:
            idle_count = sum(worker.rendering is None for worker in self.workers)
            self._idle_s += passed_s * idle_count
            self._backlog_s += passed_s * len(self.workers)

    def _at(self, time_s: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (time_s, next(self._serial), event))

    def _in(self, delay_s: float, event: Callable[[], None]) -> None:
        self._at(self.now_s + delay_s, event)

    # the gateway

    def _arrive(self, shot: Candidate) -> None:
        self.lives[shot.shot] = Life(shot, self.now_s)
        self._queue.append(shot)
        self._queue.sort(key=lambda s: (-s.priority, s.job_number, s.number))
        self._dispatch()

    def _dispatch(self) -> None:
        chosen = assign(self._queue, [self._view(worker) for worker in self.workers])
        taken = {assignment.shot for assignment in chosen}
        left = [shot for shot in self._queue if shot.shot not in taken]
        for assignment in chosen:
            shot = self.lives[assignment.shot].shot
            self._check_order(shot, left)
            worker = next(w for w in self.workers if w.name == assignment.worker)
            worker.held.add(shot.shot)
            worker.given = _latest([*worker.given, shot.shape], worker.graph_count)
            self._in(self.times.way_s, lambda w=worker, s=shot.shot: self._deliver(w, s))
        self._queue = left

    def _check_order(self, shot: Candidate, left: list[Candidate]) -> None:
        place = (shot.job_number, shot.number)
        for other in left:
            assert other.priority <= shot.priority
            older = (other.job_number, other.number) < place
            if other.priority == shot.priority and older:
                self.lives[other.shot].overtaken_count += 1

    def _view(self, worker: SimWorker) -> WorkerView:
        return WorkerView(
            worker.name,
            MODELS,
            idle=not worker.held,
            ahead=self.send_ahead and bool(worker.held) and worker.held == worker.near_end,
            warm=tuple(worker.given) if self.know_warm else (),
        )

    # the worker

    def _deliver(self, worker: SimWorker, shot: str) -> None:
        if worker.rendering is None:
            self._begin(worker, shot)
        else:
            assert worker.waiting is None
            worker.waiting = shot

    def _begin(self, worker: SimWorker, shot: str) -> None:
        worker.rendering = shot
        life, times = self.lives[shot], self.times
        life.start_s = self.now_s
        warms_s = 0.0 if life.shot.shape in worker.graphs else times.compile_s
        self.compile_count += bool(warms_s)
        worker.graphs = _latest([*worker.graphs, life.shot.shape], worker.graph_count)

        def near_end() -> None:
            worker.near_end.add(shot)
            self._dispatch()

        def settled() -> None:
            worker.held.discard(shot)
            worker.near_end.discard(shot)
            self._dispatch()

        def end() -> None:
            worker.rendering = None
            self._in(times.way_s, settled)
            if worker.waiting is not None:
                following, worker.waiting = worker.waiting, None
                self._begin(worker, following)

        self._in(warms_s + times.render_s * SEND_AHEAD_AT + times.way_s, near_end)
        self._in(warms_s + times.render_s, end)


def _latest(shapes: list[Shape], count: int) -> list[Shape]:
    """Each shape once, at the place of its last use, and of those the last few."""
    return list(dict.fromkeys(reversed(shapes)))[:count][::-1]
