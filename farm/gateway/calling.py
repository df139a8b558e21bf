"""Who makes the call under way, for the handlers."""

from __future__ import annotations

from farm.jobs.access import Caller, caller


def who() -> Caller:
    """Whoever `farm.gateway.auth` has let in. Raises LookupError in a call that is open to all."""
    return caller.get()
