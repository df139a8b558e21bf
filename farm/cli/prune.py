"""`farm prune`: deletes old jobs, and what nothing uses."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.durations import read_duration_s
from farm.cli.exits import CommandFailed, Exit
from farm.cli.options import Address, AsJson, ConnectTimeout, Token

if TYPE_CHECKING:
    from svdfarm import Pruned

_STATES = ("succeeded", "failed", "cancelled")


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(prune)


def prune(
    ctx: typer.Context,
    older_than: Annotated[
        str,
        typer.Option(
            "--older-than", metavar="AGE", help="Jobs that ended longer ago, such as 30d or 12h."
        ),
    ],
    states: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            metavar="|".join(_STATES),
            help="Only jobs that ended so; may be repeated.  [default: all]",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what would be deleted; delete nothing.")
    ] = False,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Delete jobs that ended long ago, with their videos and with images that no job uses."""
    from farm.cli import as_json as json_lines
    from farm.cli import connecting
    from svdfarm import JobState

    age = timedelta(seconds=read_duration_s(older_than, "--older-than"))
    for state in states or ():
        if state.lower() not in _STATES:
            allowed = ", ".join(_STATES)
            raise CommandFailed(f"--state is {state!r}; allowed: {allowed}. Cancel others first")
    wanted = [JobState(state.upper()) for state in states or ()]
    with connecting.client(ctx, address, token, connect_timeout) as client:
        found = client.prune(age, wanted, dry_run=dry_run)
    if as_json:
        line = {"event": "pruned", "dry_run": dry_run, **dataclasses.asdict(found)}
        print(json_lines.line(line))  # noqa: T201
    else:
        print(f"{'would delete' if dry_run else 'deleted'} {_told(found)}")  # noqa: T201
    return Exit.SUCCEEDED


def _told(found: Pruned) -> str:
    videos = f"{found.video_count} videos ({_megabytes(found.video_size_bytes)})"
    images = f"{found.image_count} unused images ({_megabytes(found.image_size_bytes)})"
    orphans = f"{found.orphan_count} stray files ({_megabytes(found.orphan_size_bytes)})"
    return f"{found.job_count} jobs with {videos}, {images}, {orphans}"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"
