"""Whose rows a caller sees: the one place where queries are narrowed to a tenant.

`sees` is a tenant's name, or None for an operator, who sees everyone's. What a caller does not see
is missing in the very words of what is not there.
"""

from __future__ import annotations

import uuid
from typing import Any, Protocol, Self, TypeVar

from sqlalchemy import ColumnElement, Table, and_, exists, or_, true

from farm.jobs.access import DEFAULT_TENANT
from farm.store import schema


class _Narrowed(Protocol):
    def where(self, *conditions: Any) -> Self: ...


Q = TypeVar("Q", bound=_Narrowed)


def owned(query: Q, table: Table, sees: str | None) -> Q:
    """A query of those rows alone that `sees` sees; `table` has a column `tenant`."""
    return query if sees is None else query.where(table.c.tenant == sees)


def owns_image(sees: str | None) -> ColumnElement[bool]:
    """Whether `sees` has uploaded the image of a row of `schema.image`."""
    if sees is None:
        return true()
    image, owner = schema.image, schema.image_owner
    of_image = owner.c.sha256 == image.c.sha256
    by_tenant = exists().where(and_(of_image, owner.c.tenant == sees))
    if sees != DEFAULT_TENANT:
        return by_tenant
    return or_(by_tenant, ~exists().where(of_image))


def stored_request_id(request_id: str | None, tenant: str) -> str | None:
    """What `schema.job.request_id` has of a tenant's request_id, which is unique for it alone.

    The column is unique over all tenants, as the version before tenants needs it.
    """
    if request_id is None or tenant == DEFAULT_TENANT:
        return request_id
    return str(uuid.uuid5(uuid.UUID(request_id), tenant))
