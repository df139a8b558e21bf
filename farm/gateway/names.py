"""Resource names on the wire (AIP-122)."""

from __future__ import annotations

import re
import uuid

from farm.gateway.wall import invalid
from farm.jobs.places import Seal
from farm.jobs.tenants import NAMES, is_name
from farm.store.records import ShotKey

_JOB = re.compile(r"jobs/([a-z0-9]{1,32})")
_SHOT = re.compile(r"jobs/([a-z0-9]{1,32})/shots/([1-9][0-9]{0,5})")
_WORKER = re.compile(r"workers/([A-Za-z0-9_-][A-Za-z0-9._-]{0,127})")
_TOKEN = re.compile(r"tokens/([0-9a-f]{1,16})", re.ASCII)
_IMAGE = re.compile(r"images/([0-9a-f]{64})")


def job_id(name: str, field: str = "name") -> str:
    """The id in `jobs/{job}`."""
    match = _JOB.fullmatch(name)
    if match is None:
        raise invalid(field, f"is {name!r}; allowed: jobs/ID")
    return match[1]


def shot_key(name: str, field: str = "name") -> ShotKey:
    """The key in `jobs/{job}/shots/{shot}`."""
    match = _SHOT.fullmatch(name)
    if match is None:
        raise invalid(field, f"is {name!r}; allowed: jobs/ID/shots/NUMBER")
    return ShotKey(match[1], int(match[2]))


def attempts_parent(name: str) -> tuple[str, int | None]:
    """The job in `jobs/{job}`, or that and the number in `jobs/{job}/shots/{shot}`."""
    if _JOB.fullmatch(name):
        return job_id(name), None
    if _SHOT.fullmatch(name) is None:
        raise invalid("parent", f"is {name!r}; allowed: jobs/ID or jobs/ID/shots/NUMBER")
    key = shot_key(name)
    return key.job_id, key.number


def video_shot(name: str) -> ShotKey:
    """The key in `jobs/{job}/shots/{shot}/video`."""
    shot, slash, video = name.rpartition("/")
    if not slash or video != "video":
        raise invalid("name", f"is {name!r}; allowed: jobs/ID/shots/NUMBER/video")
    return shot_key(shot)


def image_sha256(name: str, field: str = "name") -> str:
    """The digest in `images/{sha256}`."""
    match = _IMAGE.fullmatch(name)
    if match is None:
        raise invalid(field, f"is {name!r}; allowed: images/ and 64 lower-case hex digits")
    return match[1]


def worker_id(name: str) -> str:
    """The id in `workers/{worker}`."""
    match = _WORKER.fullmatch(name)
    if match is None:
        given = repr(name[:100])
        raise invalid("name", f"is {given}; allowed: workers/ and letters, digits, '.', '_', '-'")
    return match[1]


def tenant(name: str, field: str = "name") -> str:
    """The name in `tenants/{tenant}`."""
    plain = name.removeprefix("tenants/")
    if plain == name or not is_name(plain):
        raise invalid(field, f"is {name[:100]!r}; allowed: tenants/ and {NAMES}")
    return plain


def token_id(name: str) -> str:
    """The id in `tokens/{token}`; never told, as it may be a whole token that was pasted."""
    match = _TOKEN.fullmatch(name)
    if match is None:
        raise invalid("name", "is no token's name; allowed: tokens/ID, as farm token list shows it")
    return match[1]


def request_id(text: str) -> str | None:
    """A UUID, or None where the caller gave none."""
    if not text:
        return None
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise invalid("request_id", f"is {text!r}; allowed: a UUID") from None


def page_token(text: str, seal: Seal = Seal()) -> int | None:  # noqa: B008 - it is frozen
    """The position in a list that a page token holds."""
    if not text:
        return None
    place = seal.read(text)
    if place is None:
        raise invalid("page_token", "is not a token of this farm; use next_page_token as it came")
    return place


def page_size(given: int) -> int:
    """How long a page may be: 50 where nothing was asked for, at most 1000."""
    if given < 0:
        raise invalid("page_size", f"is {given}; allowed: from 0")
    return min(given or 50, 1000)
