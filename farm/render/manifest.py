"""A list of SHA-256 that a model's folder may carry, as `sha256sum` writes it: SHA256SUMS."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from farm.render.errors import ModelInvalid

MANIFEST_FILE = "SHA256SUMS"
_LINE = re.compile(r"([0-9a-f]{64}) [ *](.+)")


def check_manifest(folder: Path, files: Mapping[str, str]) -> None:
    """Holds the SHA-256 of the files that are loaded, by their paths in `folder`, against its list.

    Where there is a list, it has every file that is loaded. Raises ModelInvalid.
    """
    path = folder / MANIFEST_FILE
    if not path.exists():
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise ModelInvalid(f"{path} cannot be read: {error}. Copy it again.") from error
    listed = {}
    for number, line in enumerate(filter(None, lines), 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ModelInvalid(f"{path}, line {number}, is not as `sha256sum` writes it.")
        listed[match[2].removeprefix("./")] = match[1]
    for name, sha256 in files.items():
        if name not in listed:
            raise ModelInvalid(
                f"{path} does not list {name}, which would be loaded. Make the list anew with "
                "sha256sum, or take the file away."
            )
        if listed[name] != sha256:
            raise ModelInvalid(
                f"{folder / name} has the SHA-256 {sha256}, and {path} says {listed[name]}. "
                "Copy the model again."
            )
