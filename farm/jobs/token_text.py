"""A token as its holder has it, `svdfarm_ID_SECRET`: the farm keeps ID, and a hash of SECRET."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Self

_ID_BYTES = 6
_SECRET_BYTES = 32
# Both in hex: the parts of a token cannot be told apart where its secret may hold a "_".
_TEXT = re.compile(r"svdfarm_([0-9a-f]{12})_([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True)
class TokenText:
    """A token's two parts; only `str` shows the secret."""

    id: str
    secret: str = field(repr=False)

    @classmethod
    def make(cls) -> Self:
        """A new token, with 256 bits that nobody can guess."""
        return cls(secrets.token_hex(_ID_BYTES), secrets.token_hex(_SECRET_BYTES))

    @classmethod
    def read(cls, text: str) -> Self | None:
        """The parts of a token; None for a text that is none."""
        match = _TEXT.fullmatch(text)
        return cls(match[1], match[2]) if match else None

    @property
    def secret_sha256(self) -> str:
        """What the farm keeps. The secret is random: a slow hash would protect it no better."""
        return hashlib.sha256(self.secret.encode()).hexdigest()

    def __str__(self) -> str:
        return f"svdfarm_{self.id}_{self.secret}"
