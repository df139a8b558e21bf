"""`farm pause`, `resume`, `requeue`, `priority`, `cancel`, `delete`: what a job's owner asks."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.exits import CommandFailed, Exit
from farm.cli.options import Address, AsJson, ConnectTimeout, JobName, JobNames, Shots, Token

if TYPE_CHECKING:
    from svdfarm import Client, Job, JobHandle, Shot


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    for verb in (pause, resume, requeue, priority, cancel, delete):
        app.command()(verb)


def pause(
    ctx: typer.Context,
    jobs: JobNames,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Start no more shots of a job; those on a GPU finish. `farm resume` goes on."""
    from farm.cli import connecting

    with connecting.client(ctx, address, token, connect_timeout) as client:
        return _each(client, jobs, lambda job: _print_job(job.pause(), as_json=as_json))


def resume(
    ctx: typer.Context,
    jobs: JobNames,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Go on with paused jobs."""
    from farm.cli import connecting

    with connecting.client(ctx, address, token, connect_timeout) as client:
        return _each(client, jobs, lambda job: _print_job(job.resume(), as_json=as_json))


def requeue(
    ctx: typer.Context,
    job: JobName,
    states: Annotated[
        list[str] | None,
        typer.Option(
            "--state",
            metavar="failed|cancelled",
            help="Which shots; may be given twice.  [default: failed]",
            show_default=False,
        ),
    ] = None,
    shots: Shots = None,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Render shots of a job again that failed or were cancelled."""
    from farm.cli import as_json as json_lines
    from farm.cli import connecting
    from svdfarm import ShotState

    wanted = [_state(state) for state in states or ["failed"]]
    with connecting.client(ctx, address, token, connect_timeout) as client:
        handle = client.job(job)
        named = _named(handle, shots) if shots else []
        n = handle.requeue([ShotState(state) for state in wanted], named)
        found = handle.get()
    if as_json:
        line = {"event": "requeued", "requeued_shot_count": n, **json_lines.job(found)}
        print(json_lines.line(line))  # noqa: T201
    else:
        print(f"{found.name} {found.state}, shots queued again: {n}")  # noqa: T201
    return Exit.SUCCEEDED


def _state(given: str) -> str:
    if given.lower() not in ("failed", "cancelled"):
        raise CommandFailed(f"--state is {given!r}; allowed: failed, cancelled")
    return given.upper()


def _named(job: JobHandle, picks: list[str]) -> list[Shot]:
    """Those of a job's shots that were named with --shot."""
    from farm.cli.picks import choose

    return choose(list(job.shots()), ",".join(picks), "--shot")


def priority(
    ctx: typer.Context,
    job: JobName,
    value: Annotated[int, typer.Argument(metavar="N", help="From 0 to 100; higher runs first.")],
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Change a job's priority; its shots that wait are served by it from now on."""
    from farm.cli import connecting

    with connecting.client(ctx, address, token, connect_timeout) as client:
        found = client.job(job).update(priority=value)
    _print_job(found, as_json=as_json)
    return Exit.SUCCEEDED


def cancel(
    ctx: typer.Context,
    jobs: JobNames,
    shots: Shots = None,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Cancel jobs, or shots of one; those on a GPU end at their next step, finished videos stay."""
    from farm.cli import connecting

    if shots and len(jobs) > 1:
        raise CommandFailed(f"--shot is of one job; {len(jobs)} were given")

    def cancel_one(job: JobHandle) -> None:
        _print_job(job.cancel(_named(job, shots) if shots else None), as_json=as_json)

    with connecting.client(ctx, address, token, connect_timeout) as client:
        return _each(client, jobs, cancel_one)


def delete(
    ctx: typer.Context,
    jobs: JobNames,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Delete jobs that have ended, with their videos."""
    from farm.cli import as_json as json_lines
    from farm.cli import connecting

    def delete_one(job: JobHandle) -> None:
        job.delete()
        if as_json:
            print(json_lines.line({"event": "deleted", "name": job.name}))  # noqa: T201
        else:
            print(f"{job.name} deleted")  # noqa: T201

    with connecting.client(ctx, address, token, connect_timeout) as client:
        return _each(client, jobs, delete_one)


def _each(client: Client, names: list[str], act: Callable[[JobHandle], None]) -> Exit:
    """Acts on every job, also behind one that is refused; REFUSED if one was."""
    from farm.cli.tables import printable
    from svdfarm import errors

    code = Exit.SUCCEEDED
    for name in names:
        try:
            act(client.job(name))
        except (errors.Rejected, errors.NotFound) as error:
            code = Exit.REFUSED
            print("error:", printable(str(error)), file=sys.stderr)  # noqa: T201
    return code


def _print_job(job: Job, *, as_json: bool) -> None:
    from farm.cli import as_json as json_lines
    from farm.cli import tables, views

    if as_json:
        print(json_lines.line(json_lines.job(job)))  # noqa: T201
        return
    print(f"{job.name} {job.state} {views.counts(job)}")  # noqa: T201
    if job.notice:
        print(tables.printable(job.notice))  # noqa: T201
