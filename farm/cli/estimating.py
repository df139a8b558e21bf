"""What `submit --dry-run` says that a job would take, where a farm is there to ask."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from farm.cli import as_json as json_lines
from farm.cli.durations import told_s
from farm.cli.exits import CommandFailed, Exit
from farm.cli.pricing import Price, find_price
from svdfarm import Client, Estimate

CONNECT_TIMEOUT_S = 1.0  # a dry run is of use without a farm too


def show(
    shots: Sequence[object],
    connect: Callable[[], AbstractContextManager[Client]],
    ask: Callable[[Client], Estimate],
    *,
    as_json: bool,
) -> None:
    """Prints the farm's estimate, with its price if one is set. A farm that is away is told.

    Raises CommandFailed for a job that the farm would refuse.
    """
    price = find_price()
    try:
        with connect() as client:
            told = ask(client)
    except CommandFailed as error:
        if error.code is not Exit.UNREACHABLE:
            raise
        count = f"{len(shots)} shot{'s' * (len(shots) > 1)}"
        print(  # noqa: T201
            f"{count}; dry run: nothing was sent, and no farm could be asked: {error}",
            file=sys.stderr,
        )
        return
    if as_json:
        cost = {"price": price.of(told.gpu_duration_s), "currency": price.currency} if price else {}
        whole = {"event": "estimated", **dataclasses.asdict(told), **cost}
        print(json_lines.line(whole), flush=True)  # noqa: T201
        return
    for line in lines(told, price):
        print(line, file=sys.stderr)  # noqa: T201


def lines(told: Estimate, price: Price | None) -> list[str]:
    """The estimate for people."""
    count = f"{told.shot_count} shot{'s' * (told.shot_count > 1)}"
    found = [f"{count}; dry run: nothing was sent"]
    if told.cached_shot_count:
        found.append(f"rendered before, and taken from there: {told.cached_shot_count}")
    known = told.shot_count - told.unknown_shot_count - told.cached_shot_count
    if known:
        how = "by such shots before"
        if told.scaled_shot_count:
            how = f"{told.scaled_shot_count} of them by the size of others"
        cost = f", {price.told(told.gpu_duration_s)}" if price else ""
        found.append(f"GPU time: about {told_s(told.gpu_duration_s)} ({how}){cost}")
    if told.unknown_shot_count:
        found.append(
            f"{told.unknown_shot_count} of a model that this farm has not rendered yet: how long "
            "they take cannot be told"
        )
    if told.gpu_duration_ahead_s:
        found.append(f"first go shots that take about {told_s(told.gpu_duration_ahead_s)}")
    if told.cached_shot_count == told.shot_count:
        return found
    if not told.worker_count:
        found.append("no worker takes such shots just now: they would wait for one")
    elif told.finish_time is not None:
        workers = f"{told.worker_count} worker{'s' * (told.worker_count > 1)}"
        found.append(f"ready at about {told.finish_time.astimezone():%Y-%m-%d %H:%M} on {workers}")
    return found
