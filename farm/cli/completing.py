"""What the shell offers for a word that a user has begun. A farm that is away offers nothing."""

from __future__ import annotations

from itertools import islice

_JOBS = 50  # the newest
_PATIENCE_S = 0.5  # the user waits with a key pressed


def jobs(incomplete: str) -> list[tuple[str, str]]:
    """Jobs of the farm that begin so, with what they are."""
    from farm.cli.connecting import secured
    from farm.settings import DEFAULT_ADDRESS, Settings, SettingsInvalid
    from svdfarm import Client, SvdfarmError

    bare = not incomplete.startswith("jobs/")  # both spellings are taken
    try:
        settings = Settings.load()
        address = settings.get("address", None, DEFAULT_ADDRESS)
        with Client(
            address,
            settings.find("token", None),
            connect_timeout_s=_PATIENCE_S,
            call_timeout_s=_PATIENCE_S,
            **secured(settings, address),
        ) as client:
            found = list(islice(client.jobs(), _JOBS))
    except (SettingsInvalid, SvdfarmError):
        return []
    offered = []
    for job in found:
        name = job.name.removeprefix("jobs/") if bare and incomplete else job.name
        if name.startswith(incomplete):
            offered.append((name, f"{job.state} {job.display_name}".strip()))
    return offered
