"""What a group of workers is needed for, as the gateway tells whoever scales it."""

from __future__ import annotations

from farm.gateway.wall import invalid
from farm.jobs.tiers import Tier, served_as
from farm.store import demand as rows
from farm.store.store import Store
from farm.store.workers import silence_limit_s
from svdfarm.v1 import session_service_pb2 as pb
from svdfarm.v1.resources_pb2 import Worker


async def demand(store: Store, request: pb.GetDemandRequest, *, begins: bool) -> pb.Demand:
    """The demand for a group; `begins` says whether this farm starts shots now."""
    for field in ("model", "group"):
        if not getattr(request, field):
            raise invalid(field, "is missing; allowed: the name of one")
    if request.shot_limit < 1:
        raise invalid("shot_limit", f"is {request.shot_limit}; allowed: from 1")
    queued = 0
    if begins:
        served = {served_as(request.model, tier) for tier in (Tier.EXACT, *request.tiers)}
        queued = await store.database.read(
            rows.queued_count, served, request.shot_limit, store.clock.wall_s()
        )
    since_s = store.clock.steady_s() - silence_limit_s(store.lease_s)
    found = await store.database.read(rows.posts, since_s)
    group = [post for post in found if Worker.FromString(post.about).group == request.group]
    return pb.Demand(
        queued_shot_count=queued,
        busy_worker_count=sum(post.busy for post in group),
        withdrawn_worker_count=sum(post.withdrawn and not post.busy for post in group),
    )
