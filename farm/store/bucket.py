"""A bucket of blobs: Amazon's S3, or whatever speaks its protocol.

Keys and region come from where Amazon's own programs look for them: AWS_ACCESS_KEY_ID and so on,
or the machine's role.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

import obstore
import stamina
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from farm.store.blobs import Blobs, Content, PutMode
from farm.store.errors import ArtifactsUnusable, StoreAway
from farm.store.writer import PATIENCE_S

_ALLOWED = "s3://BUCKET or s3://BUCKET/PREFIX"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_PREFIX = re.compile(r"[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*")
_RETRY_S = 5.0  # what is away is told soon, and asked for again
# One that the writers' lock waits for, which PostgreSQL takes away from who is idle for 5 s.
_LOCKED_REQUEST_S = 2.0
_REQUEST_S = 60.0  # for a whole video, on its way up
_WRONG_KEYS = ("InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken")
_DOTS = {".", ".."}


@dataclass(frozen=True)
class Bucket:
    """Where a farm keeps its images and videos. `endpoint` is None for Amazon's own."""

    name: str
    prefix: str = ""
    endpoint: str | None = None
    region: str | None = None

    @classmethod
    def read(cls, given: str, endpoint: str | None = None, region: str | None = None) -> Self:
        """Reads s3://BUCKET/PREFIX. Raises ArtifactsUnusable."""
        scheme, found, rest = given.partition("://")
        if not found or scheme != "s3":
            raise ArtifactsUnusable(
                f"artifacts {given!r}; write {_ALLOWED}, or nothing to keep them in the data folder"
            )
        name, _, prefix = rest.partition("/")
        prefix = prefix.strip("/")
        if not _BUCKET.fullmatch(name):
            raise ArtifactsUnusable(
                f"artifacts {given!r} names the bucket {name!r}; a bucket's name has 3 to 63 small "
                f"letters, digits, dots and hyphens. Write {_ALLOWED}"
            )
        if prefix and (not _PREFIX.fullmatch(prefix) or _DOTS & set(prefix.split("/"))):
            raise ArtifactsUnusable(
                f"artifacts {given!r} has the prefix {prefix!r}; allowed: letters, digits, dots, "
                f"underscores and hyphens between slashes. Write {_ALLOWED}"
            )
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise ArtifactsUnusable(
                f"AWS_ENDPOINT_URL is {endpoint!r}; write http://HOST:PORT or https://HOST"
            )
        return cls(name, prefix, endpoint, region)

    def __str__(self) -> str:
        path = f"s3://{self.name}" + (f"/{self.prefix}" if self.prefix else "")
        return f"{path} at {self.endpoint}" if self.endpoint else path


class BucketBlobs(Blobs):
    """A prefix of a bucket. A PUT that was answered is durable; an object is whole or not there."""

    def __init__(self, bucket: Bucket) -> None:
        given = {"endpoint": bucket.endpoint, "region": bucket.region}
        super().__init__(
            S3Store(
                bucket.name,
                prefix=bucket.prefix or None,
                client_options={
                    "allow_http": (bucket.endpoint or "").startswith("http://"),
                    "timeout": timedelta(seconds=_REQUEST_S),
                },
                retry_config={"retry_timeout": timedelta(seconds=_RETRY_S), "max_retries": 5},
                **{name: value for name, value in given.items() if value},  # type: ignore[arg-type]
            )
        )
        self._bucket = bucket
        patient = self._store
        assert isinstance(patient, S3Store)
        timeout = {"timeout": timedelta(seconds=_LOCKED_REQUEST_S)}
        self._quick = S3Store(
            prefix=patient.prefix,
            config=patient.config,
            client_options={**(patient.client_options or {}), **timeout},  # type: ignore[arg-type]
            retry_config={"retry_timeout": timedelta(seconds=1), "max_retries": 5},
        )

    @classmethod
    def open(cls, bucket: Bucket) -> Self:
        """A bucket that was tried. Raises ArtifactsUnusable."""
        blobs = cls(bucket)
        blobs._try()
        return blobs

    def delete(self, *keys: str) -> None:
        """See `Blobs`; one request for all."""
        if keys:
            with self._errors_told():
                obstore.delete(self._store, list(keys))

    def __str__(self) -> str:
        return str(self._bucket)

    async def _write(self, key: str, content: Content, mode: PutMode) -> None:
        # A worker's session ends with this patience: an error that comes at once, such as of keys
        # that were taken back, must not end one after the other. Where no answer came the object
        # may be there or not: to create it once more tells which.
        async for attempt in stamina.retry_context(StoreAway, attempts=None, timeout=PATIENCE_S):
            with attempt, self._errors_told():
                # In one request: only that is create-only.
                await obstore.put_async(self._store, key, content, mode=mode, use_multipart=False)

    @contextlib.contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except AlreadyExistsError:
            raise
        except BaseError as error:
            raise StoreAway(f"{self._bucket} cannot be used: {_said(error)}") from error

    def _try(self) -> None:
        """Does once with a small object what the farm does with all of them."""
        key, content, store = f".probe/{uuid.uuid4().hex}", b"svdfarm", self._store
        with self._refusals_told("write to"):
            obstore.put(store, key, content, mode="create")
        with self._refusals_told("read from"):
            if bytes(obstore.get(store, key).bytes()) != content:
                raise ArtifactsUnusable(f"{self._bucket} gives other bytes back than it was given")
        with self._refusals_told("list"):
            next(iter(obstore.list(store, ".probe")), None)
        with self._refusals_told("write to"), contextlib.suppress(AlreadyExistsError):
            obstore.put(store, key, content, mode="create")
            raise ArtifactsUnusable(
                f"{self._bucket} lets what is there be overwritten: it does not know PUT with "
                "If-None-Match. Take a store that does"
            )
        with self._refusals_told("delete from"):
            obstore.delete(store, key)

    @contextlib.contextmanager
    def _refusals_told(self, verb: str) -> Iterator[None]:
        bucket = self._bucket
        try:
            yield
        except AlreadyExistsError:
            raise
        except FileNotFoundError as error:
            raise ArtifactsUnusable(
                f"there is no bucket {bucket.name}: make it, or correct --artifacts ({bucket}; "
                f"{_said(error)})"
            ) from error
        except (PermissionDeniedError, UnauthenticatedError) as error:
            said = _said(error)
            if any(code in said for code in _WRONG_KEYS):
                told = f"{bucket} does not accept the keys"
            else:
                told = f"{bucket}: the keys do not have the right to {verb} it"
            raise ArtifactsUnusable(
                f"{told} ({said}); see AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error
        except BaseError as error:
            raise ArtifactsUnusable(
                f"{bucket} cannot be used: {_said(error)}; see AWS_ENDPOINT_URL, and "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
            ) from error


def _said(error: BaseException) -> str:
    """What the store said, on one line."""
    text = str(error)
    code = re.search(r"<Code>(.*?)</Code>", text, re.DOTALL)
    if code is not None:
        return code[1].strip()
    return " ".join(text.partition("Debug source")[0].split())[:300]
