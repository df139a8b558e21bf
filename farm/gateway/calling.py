"""Who makes the call under way, for the handlers."""

from __future__ import annotations

from farm.jobs.access import LOCAL_OPERATOR, Caller, caller


def who() -> Caller:
    """Whoever the interceptor has recognised; where there is none, the local operator."""
    return caller.get(LOCAL_OPERATOR)
