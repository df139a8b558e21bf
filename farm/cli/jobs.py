"""`farm jobs`, `show`, `watch` and `download`: jobs that the farm has."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.exits import Exit
from farm.cli.options import (
    Address,
    AsJson,
    ConnectTimeout,
    JobName,
    Out,
    Overwrite,
    Receipts,
    ShowPreviews,
    Timeout,
    Token,
)

if TYPE_CHECKING:
    from svdfarm import Job, Shot


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    for verb in (watch, jobs, show, download):
        app.command()(verb)


def watch(
    ctx: typer.Context,
    job: JobName,
    out: Out = None,
    previews: ShowPreviews = False,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
    receipts: Receipts = False,
    timeout: Timeout = None,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Show a job until it ends; with --out, save its videos too."""
    from farm.cli import connecting, following

    view = following.choose_view(json=as_json, previews=previews)
    patience_s = connecting.CONNECT_TIMEOUT_S
    with connecting.client(
        ctx, address, token, connect_timeout, default_connect_timeout_s=patience_s
    ) as client:
        folder = following.check_writable(out) if out else None
        return following.watch_and_save(
            client.job(job),
            view,
            folder,
            previews=previews,
            overwrite=overwrite,
            receipts=receipts,
            timeout_s=timeout,
        )


def jobs(
    ctx: typer.Context,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most this many.")] = 50,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """List jobs, newest first."""
    from itertools import islice

    from farm.cli import as_json as json_lines
    from farm.cli import connecting, tables

    with connecting.client(ctx, address, token, connect_timeout) as client:
        found = list(islice(client.jobs(), limit))
    if as_json:
        for job in found:
            print(json_lines.line(json_lines.job(job)))  # noqa: T201
    elif found:
        rows = [
            [
                job.name,
                job.state,
                f"{job.succeeded_shot_count}/{job.shot_count}",
                str(job.failed_shot_count or ""),
                f"{job.create_time.astimezone():%Y-%m-%d %H:%M}" if job.create_time else "",
                job.display_name,
            ]
            for job in found
        ]
        tables.show(["JOB", "STATE", "DONE", "FAILED", "CREATED", "NAME"], rows)
    else:
        print("no jobs; submit one: farm submit jobs.yaml", file=sys.stderr)  # noqa: T201
    return Exit.SUCCEEDED


def show(
    ctx: typer.Context,
    job: JobName,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Show a job and its shots as they are now."""
    from farm.cli import as_json as json_lines
    from farm.cli import connecting

    with connecting.client(ctx, address, token, connect_timeout) as client:
        handle = client.job(job)
        found, shots = handle.get(), list(handle.shots())
    if as_json:
        whole = {**json_lines.job(found), "shots": [json_lines.shot(shot) for shot in shots]}
        print(json_lines.line(whole))  # noqa: T201
    else:
        _print_job(found, shots)
    return Exit.SUCCEEDED


def download(
    ctx: typer.Context,
    job: JobName,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where the videos go.")],
    overwrite: Overwrite = False,
    receipts: Receipts = False,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Save the videos that a job has so far."""
    from farm.cli import connecting, following, views

    patience_s = connecting.CONNECT_TIMEOUT_S
    with connecting.client(
        ctx, address, token, connect_timeout, default_connect_timeout_s=patience_s
    ) as client:
        handle = client.job(job)
        found = handle.get()
        view = views.JsonView() if as_json else views.PlainView()
        folder = following.check_writable(out)
        saver = following.Saver(handle, view, folder, overwrite=overwrite, receipts=receipts)
        for shot in handle.shots():
            saver.save(shot)
    if not found.state.final:
        told = f"{found.name} has not ended: {views.counts(found)}; farm watch {found.name}"
        print(told, file=sys.stderr)  # noqa: T201
    return Exit.REFUSED if saver.failed else following.ending(found)


def _print_job(job: Job, shots: list[Shot]) -> None:
    from farm.cli import tables, views

    title = f' "{tables.printable(job.display_name)}"' if job.display_name else ""
    print(f"{job.name}{title} {job.state} {views.counts(job)}")  # noqa: T201
    if job.notice:
        print(tables.printable(job.notice))  # noqa: T201
    if job.delivery:
        print(f"webhook {views.delivery_words(job.delivery)}")  # noqa: T201
    rows = [
        [
            shot.display_name,
            shot.state,
            str(shot.attempt_count),
            f"{shot.progress.step}/{shot.progress.step_count}" if shot.progress else "",
            tables.model_name(shot.params.model),
            shot.worker.removeprefix("workers/"),
            f"{shot.error.reason}: {shot.error.message}" if shot.error else shot.output_name,
        ]
        for shot in shots
    ]
    tables.show(["SHOT", "STATE", "ATTEMPTS", "STEP", "MODEL", "WORKER", "VIDEO OR ERROR"], rows)
