"""Who may do what: every method and every route of the gateway, in one table.

What is not in it is refused. A test holds it against what the gateway serves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from farm.jobs.access import Scope


class Tenancy(StrEnum):
    """What a method's scope alone does not decide."""

    OWN = "own"  # it sees what is its caller's tenant's; an operator's call, what is anybody's
    NONE = "none"  # nothing of it is a tenant's


@dataclass(frozen=True)
class Access:
    """What a call has to bring."""

    tenancy: Tenancy
    scopes: tuple[Scope, ...] = ()  # one of these; the first is for whom it is. None: any token
    open: bool = False  # to everybody, without a token


_RENDER = Access(Tenancy.OWN, (Scope.RENDER, Scope.OPERATE))
_OPERATE = Access(Tenancy.NONE, (Scope.OPERATE,))
_WORK = Access(Tenancy.NONE, (Scope.WORK,))
_METRICS = Access(Tenancy.NONE, (Scope.METRICS, Scope.OPERATE))
_ANY_TOKEN = Access(Tenancy.NONE)
_OPEN = Access(Tenancy.NONE, open=True)

METHODS: Mapping[str, Access] = {
    "/svdfarm.v1.RenderService/UploadImage": _RENDER,
    "/svdfarm.v1.RenderService/GetImage": _RENDER,
    "/svdfarm.v1.RenderService/DownloadImage": _RENDER,
    "/svdfarm.v1.RenderService/CreateJob": _RENDER,
    "/svdfarm.v1.RenderService/EstimateJob": _RENDER,
    "/svdfarm.v1.RenderService/GetJob": _RENDER,
    "/svdfarm.v1.RenderService/ListJobs": _RENDER,
    "/svdfarm.v1.RenderService/UpdateJob": _RENDER,
    "/svdfarm.v1.RenderService/DeleteJob": _RENDER,
    "/svdfarm.v1.RenderService/PruneJobs": _RENDER,
    "/svdfarm.v1.RenderService/CancelJob": _RENDER,
    "/svdfarm.v1.RenderService/PauseJob": _RENDER,
    "/svdfarm.v1.RenderService/ResumeJob": _RENDER,
    "/svdfarm.v1.RenderService/RequeueJob": _RENDER,
    "/svdfarm.v1.RenderService/WatchJob": _RENDER,
    "/svdfarm.v1.RenderService/GetShot": _RENDER,
    "/svdfarm.v1.RenderService/ListShots": _RENDER,
    "/svdfarm.v1.RenderService/ListAttempts": _RENDER,
    "/svdfarm.v1.RenderService/DownloadVideo": _RENDER,
    "/svdfarm.v1.WorkerService/GetWorker": _OPERATE,
    "/svdfarm.v1.WorkerService/ListWorkers": _OPERATE,
    "/svdfarm.v1.WorkerService/DrainWorker": _OPERATE,
    "/svdfarm.v1.WorkerService/UncordonWorker": _OPERATE,
    "/svdfarm.v1.TenantService/CreateTenant": _OPERATE,
    "/svdfarm.v1.TenantService/UpdateTenant": _OPERATE,
    "/svdfarm.v1.TenantService/GetTenant": _OPERATE,
    "/svdfarm.v1.TenantService/ListTenants": _OPERATE,
    "/svdfarm.v1.TokenService/CreateToken": _OPERATE,
    "/svdfarm.v1.TokenService/ListTokens": _OPERATE,
    "/svdfarm.v1.TokenService/RevokeToken": _OPERATE,
    "/svdfarm.v1.TokenService/WhoAmI": _ANY_TOKEN,
    "/svdfarm.v1.SessionService/Session": _WORK,
    "/svdfarm.v1.SessionService/GetDemand": _WORK,
    # Load balancers and `grpc_health_probe` carry no token.
    "/grpc.health.v1.Health/Check": _OPEN,
    "/grpc.health.v1.Health/List": _OPEN,
    "/grpc.health.v1.Health/Watch": _OPEN,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _ANY_TOKEN,
}


@dataclass(frozen=True)
class Route:
    """An HTTP path: what a request has to bring, and by which methods it may come.

    One that comes by others than GET and HEAD also has to come from the farm's own pages.
    """

    access: Access
    methods: tuple[str, ...] = ("GET", "HEAD")


ROUTES: Mapping[str, Route] = {
    "/healthz": Route(_OPEN),
    "/metrics": Route(_METRICS),
}


def routes(*, open_metrics: bool) -> Mapping[str, Route]:
    """`ROUTES`, as a gateway's settings want them."""
    return {**ROUTES, "/metrics": Route(_OPEN)} if open_metrics else ROUTES
