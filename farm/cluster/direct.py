"""A worker's own way to the farm's bucket: a link that the gateway signed."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import stamina
import urllib3

from farm.cluster.attempt_log import AttemptLog
from svdfarm.v1 import session_service_pb2 as pb

_RETRY_S = 15.0  # then the video goes over the session
_TIMEOUT = urllib3.Timeout(connect=5, read=30)  # of one attempt; `read` is between two bytes
_THERE = 412  # by an earlier PUT of this link, whose answer was lost: it is for these bytes alone
_CONFLICT, _TOO_MANY = 409, 429  # S3 asks to try again


_LEFT_ALONE_S = 600.0  # once it could not be reached


class FarmBucket:
    """The farm's bucket as this worker reaches it, or not: then it is left alone for a while."""

    def __init__(self, stopped: threading.Event) -> None:
        self._stopped = stopped
        self._not_before_s = 0.0

    @property
    def in_reach(self) -> bool:
        """Whether to ask for a link."""
        return time.monotonic() >= self._not_before_s

    def put(self, link: pb.UploadLink, video: Path, log: AttemptLog) -> bool:
        """Puts a video where the link leads. False: it has to go another way."""
        log.hide(link.url.partition("?")[2])
        if not self.in_reach:  # found out since the link was asked for
            return False
        try:
            put_video(link, video, self._stopped)
        except (NotUploaded, OSError) as error:
            log.warning("upload.failed", error=str(error))
            self._not_before_s = time.monotonic() + _LEFT_ALONE_S
            return False
        return True


class NotUploaded(Exception):
    """The bucket did not take the video; the message says why."""


class _Again(NotUploaded):
    """So far."""


def put_video(link: pb.UploadLink, path: Path, stopped: threading.Event) -> None:
    """PUTs a whole file where the link leads. Raises NotUploaded, and OSError for the file."""

    def worth_it(error: Exception) -> bool:
        return isinstance(error, _Again) and not stopped.is_set()

    for attempt in stamina.retry_context(worth_it, attempts=None, timeout=_RETRY_S, wait_max=2):
        with attempt, path.open("rb") as file, urllib3.PoolManager() as pool:
            try:
                answer = pool.request(
                    "PUT",
                    link.url,
                    body=file,
                    headers=dict(link.headers),
                    timeout=_TIMEOUT,
                    retries=False,
                )
            except urllib3.exceptions.HTTPError as error:
                raise _Again(f"{type(error).__name__}: {error}") from error
            except ValueError as error:  # a header that is none
                raise NotUploaded(str(error)) from error
            status = answer.status
            if status >= 500 or status in (_CONFLICT, _TOO_MANY):
                raise _Again(f"status {status}")
            if status >= 300 and status != _THERE:
                raise NotUploaded(f"status {status}")
