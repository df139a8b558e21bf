"""Collects what the farm need not keep any longer: at a user's word, or by itself."""

from __future__ import annotations

import asyncio

import structlog

from farm.jobs.retention import GRACE_S, Holdings, Policy, choose
from farm.store import deletion, quotas
from farm.store.holdings import read_holdings
from farm.store.store import Store

log = structlog.get_logger()

_EVERY_S = 3600.0


class Collector:
    """Deletes jobs, images and files. Several gateways may: each deletion is guarded by itself."""

    def __init__(self, store: Store, retention_s: float | None) -> None:
        self._store = store
        self._retention_s = retention_s
        self._prunes: set[asyncio.Task[Holdings]] = set()

    async def run(self) -> None:
        """Ends what a crash cut off, of deletions and of files; with a retention, prunes as well.

        Until cancelled.
        """
        try:
            while True:
                await self._collect()
                await asyncio.sleep(_EVERY_S)
        finally:
            for prune in self._prunes:
                prune.cancel()

    async def _collect(self) -> None:
        try:
            await self._sweep()
            await asyncio.to_thread(self._store.blobs.remove_leftovers)
            now_s = self._store.clock.wall_s()
            await self._store.database.write(quotas.forget_gpu_use, now_s)
            if self._retention_s is not None:
                await self.prune(Policy(self._retention_s))
        except Exception as error:  # a full disk, a store that is away: it may come back
            log.error("prune.failed", exc_info=error)

    async def prune(
        self, policy: Policy, *, dry_run: bool = False, sees: str | None = None
    ) -> Holdings:
        """Deletes what `policy` lets go; returns what was deleted, or with `dry_run` would be.

        Goes on to its end where the caller waits no longer: thousands of jobs take minutes.
        """
        prune = asyncio.create_task(self._prune(policy, sees, dry_run=dry_run))
        self._prunes.add(prune)
        prune.add_done_callback(self._prunes.discard)
        return await asyncio.shield(prune)

    async def _prune(self, policy: Policy, sees: str | None, *, dry_run: bool) -> Holdings:
        database, blobs = self._store.database, self._store.blobs
        now_s = self._store.clock.wall_s()
        files = await asyncio.to_thread(blobs.files) if sees is None else []
        kept = await database.read(read_holdings, files, sees=sees)
        chosen = await asyncio.to_thread(choose, kept, policy, now_s)
        if dry_run:
            return chosen
        since_s = now_s - policy.grace_s
        jobs, images, orphans = [], set(), set()
        for job in chosen.jobs:  # one at a time: others want to write as well
            freed = await database.write(
                deletion.delete_chosen, job, unwanted_since_s=since_s, sees=sees
            )
            if freed is not None:
                jobs.append(job)
                images |= freed
        for part in deletion.parts({image.sha256 for image in chosen.images} - images):
            images |= await database.write(
                deletion.delete_images, part, unwanted_since_s=since_s, sees=sees
            )
        for part in deletion.parts({file.key for file in chosen.orphans}):
            orphans |= await database.write(deletion.note_unnamed, part)
        await self._sweep()
        log.info("pruned", jobs=len(jobs), images=len(images), orphans=len(orphans))
        return Holdings(
            jobs,
            [image for image in chosen.images if image.sha256 in images],
            [file for file in chosen.orphans if file.key in orphans],
        )

    async def delete_job(self, job_id: str, *, sees: str | None = None) -> None:
        """Deletes an ended job and what only it used. Raises NotFound, JobNotEnded."""
        since_s = self._store.clock.wall_s() - GRACE_S
        await self._store.database.write(
            deletion.delete_job, job_id, unwanted_since_s=since_s, sees=sees
        )
        log.info("job.deleted", job=f"jobs/{job_id}")
        await self._sweep()

    async def _sweep(self) -> None:
        """Deletes files; where that fails their notes stay, and the rows are gone all the same."""
        try:
            await self._store.sweep()
        except Exception as error:  # `run` tries again
            log.error("sweep.failed", exc_info=error)
