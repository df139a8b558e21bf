"""Faults within a gateway's process: it dies at a named point, or its store's answers get lost.

What is to happen stands in a folder, where the gateway looks at every call of its store: `die-at`
names a point, `lose-answers` the share of writes whose answer is lost. While `no-grace` is there, a
prune takes images that no job uses at once, not after a day.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import random
import signal
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

from farm.gateway import collector
from farm.gateway.collector import Collector
from farm.jobs.retention import Holdings, Policy, choose
from farm.store.bucket import BucketBlobs
from farm.store.database import Database
from farm.store.errors import StoreAway
from farm.store.folder import FolderBlobs

try:
    from farm.store import together as together_with
except ImportError:  # an earlier farm of a rollout, which makes each change alone
    together_with = None  # type: ignore[assignment]

# What a gateway does to its store, by the function's name; `run` publishes images, and videos whose
# file was there, `record` all others.
WRITES = (
    "create_job",
    "run",
    "record",
    "claim_for",
    "start",
    "fail",
    "release",
    "cancel_job",
    "delete_job",
)
# Before its transaction; in it, when all but the commit is done; after that, before the answer.
POINTS = (
    *(f"{name}:{place}" for name in WRITES for place in ("before", "inside", "after")),
    "put:before",
    "put:after",
    "delete:before",
    "delete:after",
)


def install(folder: Path) -> None:
    """Has this process look into `folder`."""
    die_at, lose = folder / "die-at", folder / "lose-answers"

    def reached(point: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            if die_at.read_text(encoding="utf-8") == point:
                die_at.unlink()  # the next one lives
                os.kill(os.getpid(), signal.SIGKILL)

    submit, write = Database.submit, Database.write
    together: dict[Callable[..., Any], Callable[..., Any]] = {}  # what is made with its like

    def inside(fn: Callable[..., Any], name: str) -> Callable[..., Any]:
        @functools.wraps(fn)
        def run(conn: Any, *args: Any, **kwargs: Any) -> Any:
            found = fn(conn, *args, **kwargs)
            reached(f"{name}:inside")
            return found

        return run

    def watched_submit(self: Database, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        name = getattr(fn, "__name__", "")
        if name not in WRITES:
            return submit(self, fn, *args, **kwargs)
        reached(f"{name}:before")
        run = together.get(fn) or inside(fn, name)
        if fn not in together and together_with is not None:
            many = together_with.many_of(fn)
            if many is not None:
                together[fn] = together_with.made_by(inside(many, name))(run)
        done: Future[Any] = submit(self, run, *args, **kwargs)
        done.add_done_callback(lambda _: reached(f"{name}:after"))
        return done

    async def watched_write(self: Database, fn: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        found = await write(self, fn, *args, **kw)
        with contextlib.suppress(FileNotFoundError, ValueError):
            if random.random() < float(lose.read_text(encoding="utf-8")):
                raise StoreAway("the answer was lost on its way")
        return found

    setattr(Database, "submit", watched_submit)  # noqa: B010 - for mypy, methods are no variables
    setattr(Database, "write", watched_write)  # noqa: B010
    _collect_at_once(folder / "no-grace")
    for blobs in (FolderBlobs, BucketBlobs):
        for method in ("put", "delete"):
            setattr(blobs, method, _watched(getattr(blobs, method), method, reached))


def _collect_at_once(no_grace: Path) -> None:
    prune = Collector.prune

    def prune_now(self: Collector, policy: Policy, **how: Any) -> Any:
        return prune(self, replace(policy, grace_s=0) if no_grace.exists() else policy, **how)

    def choose_now(kept: Holdings, policy: Policy, now_s: float) -> Holdings:
        chosen = choose(kept, policy, now_s)
        # Nothing but their day keeps files whose rows are about to come.
        return chosen if policy.grace_s else replace(chosen, orphans=[])

    setattr(Collector, "prune", prune_now)  # noqa: B010
    setattr(collector, "choose", choose_now)  # noqa: B010


def _watched(method: Any, name: str, reached: Callable[[str], None]) -> Any:
    @functools.wraps(method)
    async def wait(*args: Any, **kwargs: Any) -> Any:
        reached(f"{name}:before")
        found = await method(*args, **kwargs)
        reached(f"{name}:after")
        return found

    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        reached(f"{name}:before")
        found = method(*args, **kwargs)
        reached(f"{name}:after")
        return found

    return wait if asyncio.iscoroutinefunction(method) else run
