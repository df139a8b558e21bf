"""TenantService: tenants, their limits and what they have taken, for operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from farm.gateway import names
from farm.gateway.config import Limits as CallLimits
from farm.gateway.wall import Context, Violation, invalid, invalid_fields, unary
from farm.jobs.tenants import Limits, Tenant, problems
from farm.store import quotas, tenants
from farm.store.quotas import Usage
from farm.store.store import Store
from farm.wire import timestamp
from svdfarm.v1 import tenant_service_pb2 as pb
from svdfarm.v1 import tenant_service_pb2_grpc as pb_grpc

log = structlog.get_logger()

# The limits of the wire, and our own.
_LIMITS = {
    "max_queued_shots": "max_queued_shots",
    "max_stored_bytes": "max_stored_bytes",
    "max_streams": "max_streams",
    "max_requests_per_minute": "max_requests_per_minute",
    "max_gpu_seconds_per_day": "max_gpu_s_per_day",
}
_WIRE = {"max_gpu_s_per_day": "limits.max_gpu_seconds_per_day"} | {
    name: f"limits.{name}" for name in _LIMITS
}
_PATHS = ("display_name", "weight", "limits", *(f"limits.{name}" for name in _LIMITS))


class TenantService(pb_grpc.TenantServiceServicer):
    """Makes, changes and shows tenants."""

    def __init__(self, store: Store, limits: CallLimits) -> None:
        self.limits = limits
        self._store = store

    @unary
    async def CreateTenant(  # noqa: N802 - the proto's name, here and below
        self, request: pb.CreateTenantRequest, context: Context
    ) -> pb.Tenant:
        """A new tenant."""
        given = request.tenant
        values = {path: _value(given, path) for path in ("display_name", "limits")}
        if given.HasField("weight"):
            values["weight"] = given.weight
        new = Tenant(names.tenant(given.name, "tenant.name"), **values)
        _check(new)
        now_s = self._store.clock.wall_s()
        made = await self._store.database.write(tenants.create, new, now_s)
        log.info("tenant.created", tenant=made.name)
        return await self._to_wire(made)

    @unary
    async def UpdateTenant(  # noqa: N802
        self, request: pb.UpdateTenantRequest, context: Context
    ) -> pb.Tenant:
        """The tenant, changed."""
        name = names.tenant(request.tenant.name, "tenant.name")
        paths = request.update_mask.paths
        wrong = [path for path in paths if path not in _PATHS]
        if wrong or not paths:
            given = f"has {wrong[0]!r}" if wrong else "is empty"
            raise invalid("update_mask", f"{given}; allowed: {', '.join(_PATHS)}")
        changes: dict[str, Any] = {}
        for path in paths:
            value = _value(request.tenant, path)
            match path.partition("."):
                case "limits", "", "":
                    changes |= vars(value)
                case "limits", _, limit:
                    changes[_LIMITS[limit]] = value
                case _:
                    changes[path] = value
        _check(tenants.changed(Tenant(name), changes))
        changed = await self._store.database.write(tenants.update, name, changes)
        log.info("tenant.updated", tenant=name, **changes)
        return await self._to_wire(changed)

    @unary
    async def GetTenant(  # noqa: N802
        self, request: pb.GetTenantRequest, context: Context
    ) -> pb.Tenant:
        """One tenant."""
        return await self._to_wire(
            await self._store.database.read(tenants.get, names.tenant(request.name))
        )

    @unary
    async def ListTenants(  # noqa: N802
        self, request: pb.ListTenantsRequest, context: Context
    ) -> pb.ListTenantsResponse:
        """A page of the tenants, by name."""
        size = names.page_size(request.page_size)
        after = names.tenant(request.page_token, "page_token") if request.page_token else ""
        found = await self._store.database.read(tenants.page, size + 1, after)
        page = [await self._to_wire(tenant) for tenant in found[:size]]
        token = page[-1].name if len(found) > size else ""
        return pb.ListTenantsResponse(tenants=page, next_page_token=token)

    async def _to_wire(self, tenant: Tenant) -> pb.Tenant:
        now_s = self._store.clock.wall_s()
        used = await self._store.database.read(quotas.usage, tenant.name, now_s)
        return _to_wire(tenant, used)


def _value(given: pb.Tenant, path: str) -> Any:
    """What a request has under a path of its mask; None for a limit that is unset."""
    match path.partition("."):
        case "limits", "", "":
            return Limits(**{own: _limit(given, name) for name, own in _LIMITS.items()})
        case "limits", _, limit:
            return _limit(given, limit)
        case "weight", _, _:
            return given.weight if given.HasField("weight") else Tenant("").weight
        case _:
            return given.display_name


def _limit(given: pb.Tenant, name: Any) -> Any:
    return getattr(given.limits, name) if given.limits.HasField(name) else None


def _check(tenant: Tenant) -> None:
    wrong = tuple(
        Violation(
            f"tenant.{_WIRE.get(problem.field, problem.field)}",
            f"is {problem.given}; allowed: {problem.allowed}",
        )
        for problem in problems(tenant)
    )
    if wrong:
        raise invalid_fields(wrong)


def _to_wire(tenant: Tenant, used: Usage) -> pb.Tenant:
    limits: Mapping[str, Any] = {name: getattr(tenant.limits, own) for name, own in _LIMITS.items()}
    return pb.Tenant(
        name=f"tenants/{tenant.name}",
        display_name=tenant.display_name,
        weight=tenant.weight,
        limits=pb.TenantLimits(**limits),
        usage=pb.TenantUsage(
            queued_shots=used.queued_shots,
            stored_bytes=used.stored_bytes,
            gpu_seconds_today=used.gpu_s_today,
        ),
        create_time=timestamp(tenant.create_time_s),
    )
