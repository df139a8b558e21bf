"""Who calls, and what they may: scopes, and the caller of the call under way."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

DEFAULT_TENANT = "default"  # whose everything is, until there are others


class Scope(StrEnum):
    """What a token is good for; a method asks for one."""

    RENDER = "render"  # jobs, images and videos of its own tenant
    OPERATE = "operate"  # the farm: workers, tokens, tenants, and every tenant's jobs
    WORK = "work"  # to be a worker: sessions, and nothing else
    METRICS = "metrics"  # to read what the farm measures


@dataclass(frozen=True)
class Caller:
    """Who makes a call."""

    tenant: str
    scopes: frozenset[Scope]
    token_id: str | None = None  # None: of no token, such as the local operator

    @property
    def sees(self) -> str | None:
        """The tenant whose jobs, images and videos are there for this caller; None: everyone's."""
        return None if Scope.OPERATE in self.scopes else self.tenant


# Whoever reaches the loopback of a farm without tokens.
LOCAL_OPERATOR = Caller(DEFAULT_TENANT, frozenset(Scope))

# Set once for each call, before its handler runs.
caller: ContextVar[Caller] = ContextVar("caller")
