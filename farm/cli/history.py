"""`farm logs` and `farm cost`: what became of each try at a job's shots, and what they took."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from farm.cli.exits import Exit
from farm.cli.options import (
    Address,
    AsJson,
    ConnectTimeout,
    JobName,
    JobNames,
    Shots,
    Timeout,
    Token,
)

if TYPE_CHECKING:
    from svdfarm import Attempt, JobHandle, LogLine, Shot


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    for verb in (logs, cost):
        app.command()(verb)


def logs(
    ctx: typer.Context,
    job: JobName,
    shots: Shots = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job has ended.")
    ] = False,
    as_json: AsJson = False,
    timeout: Timeout = None,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Show what happened to a job's shots: who tried, what the worker logged, why one failed."""
    from farm.cli import as_json as json_lines
    from farm.cli import connecting, tables
    from farm.cli.picks import choose

    with connecting.client(ctx, address, token, connect_timeout) as client:
        handle = client.job(job)
        found = list(handle.shots())
        names = {shot.name: shot.display_name for shot in found}
        picked = choose(found, ",".join(shots), "--shot") if shots else found
        wanted = {shot.name for shot in picked}
        for line in _lines(handle, follow=follow, timeout_s=timeout):
            if line.attempt.shot not in wanted:
                continue
            if as_json:
                print(json_lines.line(line.as_json()), flush=True)  # noqa: T201
            else:
                name = names[line.attempt.shot]
                for text in line.told(name).splitlines():
                    print(tables.printable(text), flush=True)  # noqa: T201
    return Exit.SUCCEEDED


def cost(
    ctx: typer.Context,
    jobs: JobNames,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Tell the GPU time that jobs took, and its price where gpu_hour_price is set."""
    from farm.cli import as_json as json_lines
    from farm.cli import connecting, tables
    from farm.cli.durations import told_s
    from farm.cli.pricing import find_price

    price = find_price()
    used = {}
    with connecting.client(ctx, address, token, connect_timeout) as client:
        for name in jobs:
            handle = client.job(name)
            used[handle.name] = _used(handle.attempts())
    if as_json:
        for name, gpu in used.items():
            whole_s = sum(gpu)
            paid = {"price": price.of(whole_s), "currency": price.currency} if price else {}
            line = {"name": name, "gpu_s": whole_s, "lost_gpu_s": gpu.lost_s, **paid}
            print(json_lines.line(line))  # noqa: T201
        return Exit.SUCCEEDED
    if len(used) > 1:
        used["in all"] = _Used(*map(sum, zip(*used.values(), strict=True)))
    rows = [
        [name, told_s(sum(gpu)), told_s(gpu.lost_s), *([price.told(sum(gpu))] if price else [])]
        for name, gpu in used.items()
    ]
    tables.show(["JOB", "GPU TIME", "OF IT LOST", *(["PRICE"] if price else [])], rows)
    if price is None:
        told = "FARM_GPU_HOUR_PRICE, such as '2.50 EUR', adds what it costs"
        print(told, file=sys.stderr)  # noqa: T201
    return Exit.SUCCEEDED


class _Used(NamedTuple):
    """GPU time of a job."""

    kept_s: float = 0.0  # of attempts whose video is there
    lost_s: float = 0.0  # of all others


def _used(attempts: Iterable[Attempt]) -> _Used:
    kept_s = lost_s = 0.0
    for attempt in attempts:
        if attempt.outcome == "SUCCEEDED":
            kept_s += attempt.duration_s or 0.0
        else:
            lost_s += attempt.duration_s or 0.0
    return _Used(kept_s, lost_s)


class _Line(NamedTuple):
    """One moment of an attempt."""

    time: datetime
    event: str  # claimed, started, logged or ended
    attempt: Attempt
    logged: LogLine | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs."""
        attempt = self.attempt
        found = {
            "time": self.time,
            "event": self.event,
            "shot": attempt.shot,
            "attempt": attempt.number,
            "worker": attempt.worker,
        }
        if self.event == "ended":
            found |= {
                "outcome": attempt.outcome,
                "message": attempt.message,
                "duration_s": attempt.duration_s,
            }
        if self.logged is not None:
            found |= {
                "level": self.logged.level,
                "logged": self.logged.event,
                "fields": dict(self.logged.fields),
            }
        return found

    def told(self, name: str) -> str:
        """For people."""
        from farm.cli.durations import told_s

        attempt = self.attempt
        which = f"{name} attempt {attempt.number}"
        match self.event:
            case "claimed":
                what = f"given to {attempt.worker.removeprefix('workers/')}"
            case "started":
                what = "began"
            case "logged":
                what = _told_line(self.logged)
            case _:
                took = f" after {told_s(attempt.duration_s)}" if attempt.duration_s else ""
                why = f": {attempt.message}" if attempt.message else ""
                what = f"{attempt.outcome}{took}{why}"
        return f"{self.time.astimezone():%Y-%m-%d %H:%M:%S}  {which}  {what}"


def _told_line(line: LogLine | None) -> str:
    """One line, and behind it, further in, what takes several."""
    assert line is not None
    short = {name: value for name, value in line.fields.items() if "\n" not in value}
    long = [value for value in line.fields.values() if "\n" in value]
    level = [] if line.level == "info" else [line.level]
    pairs = [f"{name}={value}" for name, value in sorted(short.items())]
    deeper = [f"    {text}" for value in long for text in value.splitlines()]
    return "\n".join([" ".join([*level, line.event, *pairs]), *deeper])


def _lines(handle: JobHandle, *, follow: bool, timeout_s: float | None) -> Iterator[_Line]:
    """Every moment, oldest first; with `follow` each new one until the job has ended."""
    from svdfarm import Job

    told = _Told()
    yield from told.news(handle.attempts(log=True))
    if follow:
        for event in handle.watch(timeout_s=timeout_s):
            if not isinstance(event, Job) and not told.knows(event):
                yield from told.news(handle.attempts(event, log=True))


class _Told:
    """What was told of each shot."""

    def __init__(self) -> None:
        self._moments: defaultdict[str, int] = defaultdict(int)  # by attempt
        self._last: dict[str, tuple[int, bool, bool]] = {}  # by shot: number, has begun, has ended

    def knows(self, shot: Shot) -> bool:
        """Whether nothing has happened to it since but steps."""
        ended = shot.state != "RENDERING"
        now = (shot.attempt_count, ended or shot.progress is not None, ended)
        return shot.attempt_count == 0 or self._last.get(shot.name) == now

    def news(self, attempts: Iterable[Attempt]) -> Iterator[_Line]:
        """What was not told yet, oldest first."""
        found = []
        for attempt in attempts:
            moments = list(_moments(attempt))
            found += moments[self._moments[attempt.name] :]
            self._moments[attempt.name] = len(moments)
            ended = attempt.end_time is not None
            begun = ended or attempt.start_time is not None
            self._last[attempt.shot] = (attempt.number, begun, ended)
        return iter(sorted(found, key=lambda line: line.time))


def _moments(attempt: Attempt) -> Iterator[_Line]:
    if attempt.claim_time is not None:
        yield _Line(attempt.claim_time.astimezone(UTC), "claimed", attempt)
    if attempt.start_time is not None:
        yield _Line(attempt.start_time.astimezone(UTC), "started", attempt)
    for line in attempt.log:
        if line.time is not None:
            yield _Line(line.time.astimezone(UTC), "logged", attempt, line)
    if attempt.end_time is not None:
        yield _Line(attempt.end_time.astimezone(UTC), "ended", attempt)
