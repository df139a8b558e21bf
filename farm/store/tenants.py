"""Tenants: who they are and what they may take."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Row, insert, select
from sqlalchemy import update as update_rows

from farm.jobs.places import Seal
from farm.jobs.tenants import Limits, Tenant
from farm.store import schema
from farm.store.errors import NotFound, TenantExists
from farm.store.moves import wake_watchers

# What `Database.on_commit` and `on_news` tell, among the ids of jobs, when a tenant was changed.
TENANTS = "tenants"


def create(conn: Connection, new: Tenant, now_s: float) -> Tenant:
    """Stores a tenant. Raises TenantExists."""
    if exists(conn, new.name):
        raise TenantExists(f"there is a tenant {new.name} already; change it, or take another name")
    made = dataclasses.replace(new, create_time_s=now_s)
    values = {"turn": 0.0, "served_turn": 0.0, "page_key": secrets.token_hex(32)}
    conn.execute(insert(schema.tenant).values(_to_row(made) | values))
    return made


def exists(conn: Connection, name: str) -> bool:
    """Whether there is such a tenant: none is ever deleted."""
    tenant = schema.tenant
    found = conn.execute(select(tenant.c.name).where(tenant.c.name == name))
    return found.one_or_none() is not None


def get(conn: Connection, name: str) -> Tenant:
    """One tenant. Raises NotFound."""
    tenant = schema.tenant
    row = conn.execute(select(tenant).where(tenant.c.name == name)).one_or_none()
    if row is None:
        raise NotFound("tenant", f"tenants/{name}")
    return _from_row(row)


def page(conn: Connection, limit: int, after: str = "") -> list[Tenant]:
    """Tenants by name, those behind `after`."""
    tenant = schema.tenant
    query = select(tenant).where(tenant.c.name > after).order_by(tenant.c.name).limit(limit)
    return [_from_row(row) for row in conn.execute(query)]


def every_limit(conn: Connection) -> dict[str, Limits]:
    """What tenants may take that have a limit of any kind, by name."""
    found = (_from_row(row) for row in conn.execute(select(schema.tenant)))
    return {tenant.name: tenant.limits for tenant in found if tenant.limits != Limits()}


def update(conn: Connection, name: str, changes: Mapping[str, Any]) -> Tenant:
    """Changes fields of a tenant and of its limits. Raises NotFound."""
    after = changed(get(conn, name), changes)
    change(conn, after)
    return after


def changed(tenant: Tenant, changes: Mapping[str, Any]) -> Tenant:
    """A tenant with other values; a limit stands under its own name."""
    of_limits = {f.name for f in dataclasses.fields(Limits)} & changes.keys()
    limits = dataclasses.replace(tenant.limits, **{name: changes[name] for name in of_limits})
    others = {name: value for name, value in changes.items() if name not in of_limits}
    return dataclasses.replace(tenant, limits=limits, **others)


def change(conn: Connection, changed: Tenant) -> None:
    """Stores a tenant as it is to be; its place in the queue follows its weight."""
    table = schema.tenant
    row = conn.execute(select(table).where(table.c.name == changed.name)).one()
    behind = (row.turn - row.served_turn) * row.weight / changed.weight
    values = _to_row(changed) | {"turn": row.served_turn + behind}
    conn.execute(update_rows(table).where(table.c.name == changed.name).values(values))
    wake_watchers(conn, TENANTS)


def seal(conn: Connection, sees: str | None) -> Seal:
    """For the page and resume tokens of whoever sees this much. Raises NotFound."""
    if sees is None:
        return Seal()
    tenant = schema.tenant
    key = conn.execute(select(tenant.c.page_key).where(tenant.c.name == sees)).scalar()
    if key is None:
        raise NotFound("tenant", f"tenants/{sees}")
    return Seal(bytes.fromhex(key))


def _to_row(tenant: Tenant) -> dict[str, Any]:
    values = dataclasses.asdict(tenant)
    limits: dict[str, Any] = values.pop("limits")
    return values | limits


def _from_row(row: Row[Any]) -> Tenant:
    limits = Limits(**{f.name: getattr(row, f.name) for f in dataclasses.fields(Limits)})
    return Tenant(row.name, row.display_name, row.weight, limits, row.create_time_s)
