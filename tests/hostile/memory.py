"""How much memory this process has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psutil  # type: ignore[import-untyped]

GROWTH_LIMIT_BYTES = 50 * 2**20


@contextmanager
def growing_little() -> Iterator[None]:
    """Fails where this process has much more memory at the end of the with block."""
    before = psutil.Process().memory_info().rss
    yield
    grown = psutil.Process().memory_info().rss - before
    assert grown < GROWTH_LIMIT_BYTES, f"{grown / 2**20:.0f} MiB more"
