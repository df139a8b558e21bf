"""Tenants as frozen values, and the messages that ask for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from types import MappingProxyType

from google.protobuf.field_mask_pb2 import FieldMask

from svdfarm.errors import Rejected
from svdfarm.v1 import tenant_service_pb2 as rpc

_INT64_MAX = 2**63 - 1
NO_LIMITS: Mapping[str, float | None] = MappingProxyType({})


@dataclass(frozen=True)
class TenantLimits:
    """What a tenant may take; None: as much as there is."""

    max_queued_shots: int | None = None  # those that render included
    max_stored_bytes: int | None = None  # of its videos, and the images that it has uploaded
    max_streams: int | None = None  # uploads, downloads and watches open at one gateway
    max_requests_per_minute: int | None = None  # of one gateway
    max_gpu_seconds_per_day: float | None = None


@dataclass(frozen=True)
class TenantUsage:
    """What a tenant has taken."""

    queued_shots: int
    stored_bytes: int
    gpu_seconds_today: float  # within the last 24 to 25 hours


@dataclass(frozen=True)
class Tenant:
    """Whose jobs, images and videos are apart from everyone else's."""

    name: str
    display_name: str
    weight: float  # its part of the farm, beside those of others whose shots wait
    limits: TenantLimits
    usage: TenantUsage
    create_time: datetime | None


_LIMITS = tuple(field.name for field in fields(TenantLimits))


def tenant_name(name: str) -> str:
    """`tenants/NAME` from that or `NAME`. Raises Rejected."""
    if not isinstance(name, str) or not name.removeprefix("tenants/"):
        allowed = "tenants/NAME or NAME, such as acme"
        raise Rejected(f"a tenant's name is {name!r}; allowed: {allowed}")
    return f"tenants/{name.removeprefix('tenants/')}"


def get_request(name: str) -> rpc.GetTenantRequest:
    """What asks for one tenant. Raises Rejected."""
    try:
        return rpc.GetTenantRequest(name=tenant_name(name))
    except ValueError as error:  # half of a character
        raise Rejected(f"a tenant's name is {name!r}; allowed: tenants/NAME or NAME") from error


def create_request(
    name: str, display_name: str, weight: float, limits: Mapping[str, float | None]
) -> rpc.CreateTenantRequest:
    """What asks for a new tenant. Raises Rejected."""
    given = _given(name, display_name, weight, limits)
    return rpc.CreateTenantRequest(tenant=given)


def update_request(
    name: str,
    display_name: str | None,
    weight: float | None,
    limits: Mapping[str, float | None],
) -> rpc.UpdateTenantRequest:
    """What changes a tenant: None leaves a name and a weight as they are. Raises Rejected."""
    tenant = _given(name, display_name, weight, limits)
    paths = [f"limits.{limit}" for limit in limits]
    paths += ["display_name"] if display_name is not None else []
    paths += ["weight"] if weight is not None else []
    if not paths:
        allowed = "display_name, weight or limits"
        raise Rejected(f"nothing of {tenant.name} is to be changed; allowed: {allowed}")
    return rpc.UpdateTenantRequest(tenant=tenant, update_mask=FieldMask(paths=paths))


def _given(
    name: str,
    display_name: str | None,
    weight: float | None,
    limits: Mapping[str, float | None],
) -> rpc.Tenant:
    if not isinstance(limits, Mapping):
        raise Rejected(f"limits is {limits!r}; allowed: a dict such as {{'max_streams': 8}}")
    wanted = rpc.TenantLimits()
    for limit, value in limits.items():
        if limit not in _LIMITS:
            raise Rejected(f"limits has {limit!r}; allowed: {', '.join(_LIMITS)}")
        if value is not None:
            _set(wanted, limit, value)
    if weight is not None and not _is_number(weight):
        raise Rejected(f"weight is {weight!r}; allowed: from 0.001 to 1000")
    try:
        tenant = rpc.Tenant(name=tenant_name(name), limits=wanted)
        if display_name is not None:
            tenant.display_name = display_name
    except (TypeError, ValueError) as error:  # no text, or half of a character
        raise Rejected(f"display_name is {display_name!r}; allowed: text") from error
    if weight is not None:
        tenant.weight = weight
    return tenant


def _set(limits: rpc.TenantLimits, name: str, value: float) -> None:
    if name == "max_gpu_seconds_per_day":
        if not _is_number(value) or value < 0:
            raise Rejected(f"{name} is {value!r}; allowed: seconds from 0, or None for no limit")
        limits.max_gpu_seconds_per_day = value
        return
    whole = isinstance(value, int) and not isinstance(value, bool)
    if not whole or not 0 <= value <= _INT64_MAX:
        allowed = f"a whole number from 0 to {_INT64_MAX}, or None for no limit"
        raise Rejected(f"{name} is {value!r}; allowed: {allowed}")
    setattr(limits, name, value)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(float(value))
    except OverflowError:
        return False


def tenant_from_wire(message: rpc.Tenant) -> Tenant:
    """A tenant."""
    limits = message.limits
    given = {name: getattr(limits, name) for name in _LIMITS if limits.HasField(name)}  # type: ignore[arg-type]
    usage = message.usage
    made = message.create_time.ToDatetime(tzinfo=UTC) if message.HasField("create_time") else None
    return Tenant(
        name=message.name,
        display_name=message.display_name,
        weight=message.weight,
        limits=TenantLimits(**given),
        usage=TenantUsage(usage.queued_shots, usage.stored_bytes, usage.gpu_seconds_today),
        create_time=made,
    )
