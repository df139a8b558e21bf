"""Stability's checkpoints, from Hugging Face's hub or from its cache on this machine."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import HfApi, snapshot_download

# HTTPError is the base of what the hub's transport raises; which library that is differs between
# the hub's versions, and this name is always the one in use.
from huggingface_hub.errors import (  # type: ignore[attr-defined]
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from farm.render.errors import ModelInvalid, ModelUnavailable
from farm.render.weights import check_folder, list_files, weight_patterns

REPOSITORIES: Mapping[str, str] = {
    "svd": "stabilityai/stable-video-diffusion-img2vid",
    "svd-xt": "stabilityai/stable-video-diffusion-img2vid-xt",
}
# The commit of each: whatever its makers change, all workers render with the same files.
REVISIONS: Mapping[str, str] = {
    "svd": "9cf024d5bfa8f56622af86c884f26a52f6676f2e",
    "svd-xt": "9e43909513c6714f1bc78bcb44d96e733cd242aa",
}

LICENCE = "Stability AI Community License, gated"

# A network that drops packets to the hub must not hold the user up.
CONNECT_TIMEOUT_S = 3.0
_SHA256 = re.compile(r"[0-9a-f]{64}")
_GIT_HASH = re.compile(r"[0-9a-f]{40}")  # of a commit; of a file with a header


def fetch(name: str, dtype: str, cache_dir: Path | None, revision: str | None = None) -> Path:
    """The folder of a known checkpoint, in this `revision` of its repository or the farm's own.

    A complete copy in the cache is used as it is, without asking the network. `cache_dir` None is
    the hub's own cache, where other programs may have put the files already.
    """
    repository = REPOSITORIES[name]
    revision = revision or REVISIONS[name]
    if not _GIT_HASH.fullmatch(revision):  # the hub makes paths of it, and receipts tell it
        raise ModelUnavailable(f"revision is {revision!r}; allowed: a commit, 40 hex digits")
    there = cached(name, dtype, cache_dir, revision)
    if there is not None:
        return there
    try:
        info = HfApi().model_info(repository, revision=revision, timeout=CONNECT_TIMEOUT_S)
        names = {file.rfilename for file in info.siblings or []}
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                cache_dir=cache_dir,
                allow_patterns=weight_patterns(dtype, names),
                etag_timeout=CONNECT_TIMEOUT_S,
            )
        )
    except (OSError, HTTPError) as error:
        raise ModelUnavailable(_explain(name, repository, error)) from error


def cached(
    name: str, dtype: str, cache_dir: Path | None, revision: str | None = None
) -> Path | None:
    """The folder of a known checkpoint that is whole in the cache; the network is not asked."""
    try:
        folder = Path(
            snapshot_download(
                REPOSITORIES[name],
                revision=revision or REVISIONS[name],
                cache_dir=cache_dir,
                local_files_only=True,
            )
        )
        check_folder(folder, dtype)
    except (LocalEntryNotFoundError, ModelInvalid):
        # Not there, or only in part (another precision's files): the hub has the rest.
        return None
    return folder


class Checked(NamedTuple):
    """How many files are as the hub says, and how many nobody can tell of."""

    whole_count: int
    unknown_count: int


def check_hashes(folder: Path, dtype: str) -> Checked:
    """Checks the files of a fetched checkpoint by the hub's hashes.

    The hub's cache names large files after their SHA-256 and small ones after git's hash, but on
    a file system without links. A damaged one is removed, so that the next `fetch` brings it
    again. Raises ModelInvalid for it.
    """
    names = list_files(folder, check_folder(folder, dtype))
    whole_count = 0
    for name in names:
        path = (folder / name).resolve()
        if _SHA256.fullmatch(path.name):
            what, start = "its SHA-256", hashlib.sha256()
        elif _GIT_HASH.fullmatch(path.name):
            header = b"blob %d\0" % path.stat().st_size
            what, start = "git's hash of it", hashlib.sha1(header, usedforsecurity=False)
        else:
            continue
        with path.open("rb") as file:
            found = hashlib.file_digest(file, start.copy).hexdigest()
        if found != path.name:
            path.unlink()
            (folder / name).unlink(missing_ok=True)
            raise ModelInvalid(
                f"{name} is damaged: {what} is {found}, the hub says {path.name}. "
                "It was removed; pull the model again."
            )
        whole_count += 1
    return Checked(whole_count, len(names) - whole_count)


def _explain(name: str, repository: str, error: Exception) -> str:
    """What happened and what the user can do about it."""
    page = f"https://huggingface.co/{repository}"
    access = (
        f"Accept the licence on {page}, create a read token on "
        "https://huggingface.co/settings/tokens and set HF_TOKEN to it (or run `hf auth login`)"
    )
    local = "give the path of a local copy in diffusers' format instead"
    match error:
        case GatedRepoError() | RepositoryNotFoundError():
            why = f"{repository} is gated, and this machine has no access to it"
            return f"Model {name} cannot be had: {why}. {access}; or {local}."
        case HfHubHTTPError() if error.response is not None:
            code = error.response.status_code
            if code in {401, 403}:
                why = f"Hugging Face refused access to {repository} ({code})"
                return f"Model {name} cannot be had: {why}. {access}; or {local}."
            why = f"Hugging Face answered {code}"
        case OfflineModeIsEnabled():
            why = "HF_HUB_OFFLINE is set and the files are not in the cache"
        case HTTPError() | LocalEntryNotFoundError():
            why = f"huggingface.co cannot be reached from here ({error.__cause__ or error})"
        case _:
            why = str(error)
    return (
        f"Model {name} cannot be had: {why}. "
        f"With a network: {access[0].lower()}{access[1:]}. Without one: {local}."
    )
