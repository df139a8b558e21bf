"""What keeps a checkpoint from being rewritten."""

from __future__ import annotations


class NotRewritable(Exception):
    """A module is built otherwise than Stable Video Diffusion's; the message says which and how."""


def require(holds: bool, what: str) -> None:
    """Raise NotRewritable unless `holds`; `what` says what was found instead."""
    if not holds:
        raise NotRewritable(what)
