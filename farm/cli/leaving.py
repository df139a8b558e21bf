"""`farm leave`: what a machine's workers are told when it ends."""

from __future__ import annotations

from typing import Annotated

import typer

from farm.cli.exits import CommandFailed, Exit


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(leave)


def leave(
    within: Annotated[
        float,
        typer.Option(
            metavar="S",
            min=0,
            help="How long shots may take to end; what takes longer is handed back.",
        ),
    ] = 45.0,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Those of the whole Ray cluster of this machine.")
    ] = False,
) -> int:
    """Let this machine's own workers go, as it ends: they take no more shots, and end theirs.

    It needs neither the gateway nor a token, and returns once they have left. For the workers of
    other machines there is `farm drain`.
    """
    from farm.cluster.leaving import leave, leave_cluster

    staying = leave_cluster(within) if cluster else leave(within)
    if staying:
        told = ", ".join(staying)
        raise CommandFailed(f"not gone after {within:g} s and ten more: {told}", Exit.TIMED_OUT)
    return Exit.SUCCEEDED
