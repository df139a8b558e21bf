"""Sizes as people write them."""

from __future__ import annotations

import re

from farm.cli.exits import CommandFailed

_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_SIZE = re.compile(r"(\d{1,9}) ?(B|KiB|MiB|GiB|TiB)", re.ASCII)
_SIDES = re.compile(r"([0-9]{1,6})x([0-9]{1,6})")


def read_size_bytes(text: str, name: str) -> int:
    """Bytes of `2GiB` or `500MiB`. Raises CommandFailed that tells `name`."""
    match = _SIZE.fullmatch(text)
    if match is None:
        raise CommandFailed(
            f"{name} is {text!r}; allowed: a number and B, KiB, MiB, GiB or TiB, such as 2GiB"
        )
    return int(match[1]) * _BYTES[match[2]]


def find_sides_px(text: str) -> tuple[int, int] | None:
    """Width and height of `1024x576`; None where it is written otherwise."""
    match = _SIDES.fullmatch(text)
    return match and (int(match[1]), int(match[2]))


def read_sides_px(text: str) -> tuple[int, int]:
    """Width and height that --size gives. Raises CommandFailed."""
    sides = find_sides_px(text)
    if sides is None:
        raise CommandFailed(f"--size is {text!r}; allowed: WIDTHxHEIGHT, such as 1024x576")
    return sides
