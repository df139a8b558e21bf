"""A group of workers that are scaled together: its names in Ray, in Serve and at the gateway."""

from __future__ import annotations

import ray

PATTERN = r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?"


def application_name(group: str) -> str:
    """Its Serve application."""
    return f"svdfarm-{group}"


def resource_name(group: str) -> str:
    """The Ray resource that its nodes have and others have not."""
    return f"svdfarm-{group}"


def told_group(group: str) -> str:
    """What its workers, and who scales them, call it at the gateway.

    With the name of this Ray cluster's session, which all its nodes share: while a new cluster
    takes an old one's place, both have the group, and each has workers of its own.
    """
    return f"{group}@{ray.get_runtime_context().get_session_name()}"
