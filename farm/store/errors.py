"""What the store refuses.

StoreError
├── StoreLocked        another gateway has this folder
├── StoreTooNew        the database was made by a newer version
├── StoreAway          the database, or the store of artifacts, cannot be reached now
├── DatabaseUrlInvalid a database's URL that cannot be used
├── ArtifactsUnusable  a bucket that cannot keep images and videos
├── ArtifactsForeign   images and videos that are another farm's
├── NotFound           no such job, shot or image
├── RequestConflict    the same request_id with other content
├── JobNotEnded        a job that has not ended cannot be deleted
├── JobCancelling      a job that is being cancelled cannot be asked for anything else
├── ShotNotRequeued    a shot that was named for a requeue ended otherwise
├── TenantExists       a tenant of this name was created before
├── QuotaExceeded      a tenant has taken what it may
├── NoOperatorToken    a first token that would lock operators out
└── LastOperatorToken  the last token that lets operators in cannot be revoked
"""

from __future__ import annotations

import errno
import sqlite3

import psycopg
from obstore.exceptions import BaseError


class StoreError(Exception):
    """The store refused; the message says what and why."""


class StoreLocked(StoreError):
    """Another gateway has this folder."""


class StoreTooNew(StoreError):
    """The database was made by a newer version of the farm."""


class StoreAway(StoreError):
    """The store cannot be reached now; what was asked for may have been done or not."""

    @classmethod
    def because(cls, error: BaseException) -> StoreAway:
        """Says what the driver said, on one line; it never tells a password."""
        told = " ".join(str(getattr(error, "orig", None) or error).split())
        return cls(f"the farm's database cannot be reached: {told}")


class DatabaseUrlInvalid(StoreError):
    """A database's URL that cannot be used; the message says what is allowed."""


class ArtifactsUnusable(StoreError):
    """A bucket that cannot keep images and videos; the message says why, and what to do."""


class ArtifactsForeign(StoreError):
    """Images and videos of another farm than the database's; the message says what to do."""


class NotFound(StoreError):
    """There is no such resource."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(f"there is no {kind} {name}")
        self.kind = kind
        self.name = name


class RequestConflict(StoreError):
    """This request_id was used for a job of other content."""


class JobNotEnded(StoreError):
    """The job has not ended."""


class JobCancelling(StoreError):
    """The job is being cancelled."""


class ShotNotRequeued(StoreError):
    """A shot that was named for a requeue is not in a state that is requeued."""


class TenantExists(StoreError):
    """A tenant of this name was created before."""


class QuotaExceeded(StoreError):
    """A tenant asks for more than it may have; `reason` says of what."""

    def __init__(self, reason: str, message: str, limit: float, used: float) -> None:
        super().__init__(message)
        self.reason = reason
        self.limit = limit
        self.used = used


class NoOperatorToken(StoreError):
    """A first token after which no operator could get in."""

    def __init__(self) -> None:
        super().__init__(
            "the first token of a farm has to have scope operate and never expire: with it, calls "
            "without a token end. Create such a one first and keep it, then this one"
        )


class LastOperatorToken(StoreError):
    """The last token that lets operators in."""

    def __init__(self) -> None:
        super().__init__(
            "no operator could get in without this token: create another one with scope operate "
            "that never expires, and revoke this one with it. To end all tokens revoke the others "
            "first; a farm that other machines reach keeps one, or has FARM_TOKEN set"
        )


def is_disk_full(error: BaseException | None) -> bool:
    """Whether `error`, or what caused it, says that a disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error):
            return True
        if isinstance(error, psycopg.errors.DiskFull):
            return True
        if isinstance(error, BaseError) and f"os error {errno.ENOSPC}" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False
