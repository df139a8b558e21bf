"""What --json prints: one object a line. Keys are added, never renamed."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from svdfarm import Identity, Job, Shot, Tenant, Token, Worker


def line(value: Mapping[str, Any]) -> str:
    """One JSON object on one line, in ASCII, NaN refused."""
    return json.dumps(value, allow_nan=False, default=_plain)


def job(value: Job) -> dict[str, Any]:
    """A job."""
    return dataclasses.asdict(value)


def shot(value: Shot) -> dict[str, Any]:
    """A shot with all its settings."""
    return dataclasses.asdict(value)


def worker(value: Worker) -> dict[str, Any]:
    """A worker; `shot` is null when it is idle."""
    return {**dataclasses.asdict(value), "shot": value.shot or None}


def tenant(value: Tenant) -> dict[str, Any]:
    """A tenant; a limit that is null is none."""
    return dataclasses.asdict(value)


def token(value: Token) -> dict[str, Any]:
    """A token, without its secret."""
    return dataclasses.asdict(value)


def identity(value: Identity) -> dict[str, Any]:
    """Who somebody is; `token` is null where it is none of the farm's table."""
    return dataclasses.asdict(value)


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} in JSON")
