"""Why nothing happens to a job just now, for people."""

from __future__ import annotations

from farm.gateway.roster import Roster
from farm.jobs.states import JobState
from farm.store import jobs, quotas
from farm.store.records import Job
from farm.store.store import Store


async def notice(store: Store, roster: Roster, low_disk: str, job: Job) -> str:
    """What holds a job's shots; "" where they go on. `low_disk` is what is wrong with the disk."""
    if job.state is JobState.PAUSED:
        finish = "; those that render now finish" if job.counts.rendering else ""
        return f"paused: no shot starts until it is resumed{finish}"
    if not job.counts.queued:
        return ""
    if low_disk:
        return f"no shot starts: {low_disk}"
    read, now_s = store.database.read, store.clock.wall_s()
    if problem := await read(quotas.gpu_notice, job.tenant, now_s):
        return f"no shot starts: {problem}"
    waiting = await read(jobs.waiting_models, job.id)
    missing = sorted(waiting - await roster.taking())
    if not missing:
        return ""
    return f"no worker that takes shots serves {', '.join(missing)}; its shots wait for one"
