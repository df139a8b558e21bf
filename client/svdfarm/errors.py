"""What can go wrong, as exceptions. grpc.RpcError never leaves this package.

SvdfarmError
├── Unreachable            no farm answers at the address
├── TlsFailed              the farm's certificate, ours, or who speaks TLS: they do not fit
├── Unauthenticated        the farm wants a token, or another one
├── NotFound               no such job, shot, image or worker
├── Rejected               the farm, or a check before it, refuses the request
│   ├── ShotRejected       one or more shots of a job; see `violations`
│   └── ImageRejected      an image that cannot be read, is too large or is none
├── ResourceExhausted      a limit of the farm is reached; try again later
├── DeadlineExceeded       no answer, or no ending, in the time that was given
├── FarmFailed             the farm itself failed
└── SaveFailed             a video could not be saved; the farm still has it
    ├── DownloadBroken     what arrived is not what the farm has
    ├── DiskFull
    └── TargetExists       another file has that name already
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_SHOT_FIELD = re.compile(r"shots\[(\d+)\](?:\.(\w+))?")


@dataclass(frozen=True)
class Violation:
    """One field that was refused: what was given, and what is allowed."""

    field: str
    message: str

    @property
    def shot_index(self) -> int | None:
        """Counted from 0 in the order of submission; None where no shot is meant."""
        match = _SHOT_FIELD.fullmatch(self.field)
        return int(match[1]) if match else None

    @property
    def shot_field(self) -> str | None:
        """The field of that shot, such as width_px; None where the whole shot is meant."""
        match = _SHOT_FIELD.fullmatch(self.field)
        return match[2] if match else None

    def __str__(self) -> str:
        return f"{self.field} {self.message}"


class SvdfarmError(Exception):
    """Every error of this package.

    `reason` and `metadata` are for programs: google.rpc.ErrorInfo as the farm sent it, or empty.
    """

    def __init__(
        self, message: str, *, reason: str = "", metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.metadata: Mapping[str, str] = dict(metadata or {})


class Unreachable(SvdfarmError):
    """No farm answers at the address."""


class TlsFailed(SvdfarmError):
    """A farm is there, and no connection comes about: the message says what does not fit."""


class Unauthenticated(SvdfarmError):
    """The farm wants a token, or another one."""


class NotFound(SvdfarmError):
    """No such job, shot, image or worker."""


class Rejected(SvdfarmError):
    """The request cannot be accepted as it is; `violations` names the fields."""

    def __init__(
        self,
        message: str,
        *,
        violations: Sequence[Violation] = (),
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.violations = tuple(violations)


class ShotRejected(Rejected):
    """Shots of a job cannot be accepted; none of the job's shots was."""


class ImageRejected(Rejected):
    """An image cannot be read, is too large or is none."""


class ResourceExhausted(SvdfarmError):
    """A limit of the farm is reached; try again later.

    `retry_after_s` is set where the farm says when: of such limits only a deadline is told here.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, reason=reason, metadata=metadata)
        self.retry_after_s = retry_after_s


class DeadlineExceeded(SvdfarmError):
    """No answer, or no ending, in the time that was given."""


class FarmFailed(SvdfarmError):
    """The farm itself failed; its operator's log says why."""


class SaveFailed(SvdfarmError):
    """A video could not be saved; the farm still has it."""


class DownloadBroken(SaveFailed):
    """What arrived is not what the farm has, by size or sha256."""


class DiskFull(SaveFailed):
    """No space is left where the video should go."""


class TargetExists(SaveFailed):
    """A file with other bytes has that name already."""
