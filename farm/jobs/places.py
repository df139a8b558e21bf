"""Places in lists and logs as tokens for callers.

The farm numbers its jobs and changes over all tenants: how these numbers grow tells how much others
do. A tenant gets them sealed with a key of its own; an operator gets them as they are.
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass

_PART = 8  # bytes: of the nonce, the number and the proof each
_DIGITS = 15  # of a plain number


@dataclass(frozen=True)
class Seal:
    """Writes and reads the tokens of one tenant; without a key those of operators."""

    key: bytes | None = None

    def write(self, place: int) -> str:
        """A token for a place."""
        if self.key is None:
            return str(place)
        nonce = secrets.token_bytes(_PART)
        hidden = self._mask(nonce, place.to_bytes(_PART, "big"))
        return (nonce + hidden + self._proof(nonce + hidden)).hex()

    def read(self, token: str) -> int | None:
        """The place that a token was written for; None: it is none of this tenant's."""
        if self.key is None:
            return int(token) if token.isdecimal() and len(token) <= _DIGITS else None
        try:
            raw = bytes.fromhex(token)
        except ValueError:
            return None
        nonce, hidden, proof = raw[:_PART], raw[_PART : 2 * _PART], raw[2 * _PART :]
        if not hmac.compare_digest(proof, self._proof(nonce + hidden)):
            return None
        return int.from_bytes(self._mask(nonce, hidden), "big")

    def _mask(self, nonce: bytes, number: bytes) -> bytes:
        pad = self._digest(b"mask" + nonce)
        return bytes(a ^ b for a, b in zip(number, pad, strict=True))

    def _proof(self, content: bytes) -> bytes:
        return self._digest(b"proof" + content)

    def _digest(self, content: bytes) -> bytes:
        assert self.key is not None
        return hmac.digest(self.key, content, "sha256")[:_PART]
