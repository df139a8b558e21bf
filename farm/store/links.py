"""Links to a bucket: the right to PUT one video there, once, for whoever has the link."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import urllib3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session

from farm.store.bucket import Bucket
from farm.store.errors import ArtifactsUnusable, StoreAway

_VALID_S = 900
_DEFAULT_REGION = "us-east-1"  # obstore's own
_TRY_S = 10.0
_RETRIES = urllib3.Retry(5, status_forcelist=(500, 502, 503, 504), backoff_factor=0.2)
_MISSING, _THERE = 404, 412


@dataclass(frozen=True)
class Link:
    """Where to PUT, and the headers to send: all of them are signed. Its URL is a secret."""

    url: str
    headers: dict[str, str]


@dataclass(frozen=True)
class Found:
    """What the bucket says of an object. `sha256` is in hex, empty where the bucket has none."""

    size_bytes: int
    sha256: str
    modify_time_s: float


class Links:
    """Signs links. Each is good for one key, one size and one SHA-256, and overwrites nothing.

    obstore signs no headers, so botocore does (docs/decisions/0018).
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._client: Any = Session().create_client(
            "s3",
            region_name=bucket.region or _DEFAULT_REGION,
            endpoint_url=bucket.endpoint,
            config=Config(
                signature_version="s3v4",
                s3={"addressing_style": "path"},  # as obstore does
                connect_timeout=5,
                read_timeout=10,
                retries={"mode": "standard", "total_max_attempts": 5},
            ),
        )

    @classmethod
    def open(cls, bucket: Bucket) -> Self:
        """Links that were tried. Raises ArtifactsUnusable, and StoreAway."""
        links = cls(bucket)
        links._try()
        return links

    def sign(self, key: str, sha256: str, size_bytes: int, media_type: str) -> Link:
        """A link for these bytes alone; `sha256` is in hex. Raises StoreAway."""
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        with self._errors_told():
            url = self._client.generate_presigned_url(
                "put_object",
                Params={
                    **self._at(key),
                    "IfNoneMatch": "*",
                    "ChecksumSHA256": checksum,
                    "ContentLength": size_bytes,
                    "ContentType": media_type,
                },
                ExpiresIn=_VALID_S,
            )
        return Link(
            url,
            {
                "If-None-Match": "*",
                "x-amz-checksum-sha256": checksum,
                "Content-Length": str(size_bytes),
                "Content-Type": media_type,
            },
        )

    def find(self, key: str) -> Found:
        """What is there under `key`. Raises FileNotFoundError, and StoreAway."""
        with self._errors_told():
            there = self._client.head_object(**self._at(key), ChecksumMode="ENABLED")
        return Found(
            there["ContentLength"],
            base64.b64decode(there.get("ChecksumSHA256", "")).hex(),
            there["LastModified"].timestamp(),
        )

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()

    def _at(self, key: str) -> dict[str, str]:
        prefix = f"{self._bucket.prefix}/" if self._bucket.prefix else ""
        return {"Bucket": self._bucket.name, "Key": prefix + key}

    @contextlib.contextmanager
    def _errors_told(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] == _MISSING:
                raise FileNotFoundError(str(error)) from error
            raise StoreAway(f"{self._bucket} cannot be used: {error}") from error
        except BotoCoreError as error:
            raise StoreAway(f"{self._bucket} cannot be used: {error}") from error

    def _try(self) -> None:
        """Does once what links are for, and what they must not allow."""
        key, content = f".probe/{uuid.uuid4().hex}", b"svdfarm"
        sha256 = hashlib.sha256(content).hexdigest()
        link = self.sign(key, sha256, len(content), "application/octet-stream")
        try:
            if self._put(link, content[::-1]) < 300:
                raise self._unusable("takes other bytes than a link is for")
            # It may be there: by a PUT whose answer was lost.
            if (status := self._put(link, content)) >= 300 and status != _THERE:
                raise self._unusable(f"refuses a PUT by link with status {status}")
            if self._put(link, content) < 300:
                raise self._unusable("lets a link overwrite what is there")
            if self.find(key).sha256 != sha256:
                raise self._unusable("does not tell an object's SHA-256")
        finally:
            with contextlib.suppress(FileNotFoundError), self._errors_told():
                self._client.delete_object(**self._at(key))

    def _put(self, link: Link, content: bytes) -> int:
        try:
            with urllib3.PoolManager() as pool:
                answer = pool.request(
                    "PUT",
                    link.url,
                    body=content,
                    headers=link.headers,
                    timeout=_TRY_S,
                    retries=_RETRIES,
                )
        except urllib3.exceptions.HTTPError as error:
            raise StoreAway(f"{self._bucket} cannot be used: {type(error).__name__}") from error
        return answer.status

    def _unusable(self, told: str) -> ArtifactsUnusable:
        return ArtifactsUnusable(
            f"{self._bucket} {told}: workers cannot upload to it themselves. Leave out "
            "--direct-upload, or take a store that knows x-amz-checksum-sha256 and If-None-Match"
        )
