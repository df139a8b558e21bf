"""`farm submit`: a jobs.yaml to the farm, its videos to disk as they finish."""

from __future__ import annotations

import hashlib
import uuid
from pathlib import Path
from typing import Annotated

import typer

from farm.cli.exits import CommandFailed, Exit
from farm.cli.options import (
    DEFAULT_FOLDER,
    Address,
    AsJson,
    ConnectTimeout,
    Out,
    Overwrite,
    Receipts,
    ShowPreviews,
    Timeout,
    Token,
)


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(submit)


def submit(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A jobs.yaml; see farm init.")],
    out: Out = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the job's name and leave it to the farm.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Check everything, tell what it would take; submit none."),
    ] = False,
    draft: Annotated[
        bool,
        typer.Option(
            "--draft",
            help="Render small samples, fast, and one picture of them; see farm promote.",
        ),
    ] = False,
    no_cache: Annotated[
        bool,
        typer.Option("--no-cache", help="Render also what was rendered before, with its seed."),
    ] = False,
    previews: ShowPreviews = False,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
    receipts: Receipts = False,
    timeout: Timeout = None,
    webhook: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Told when the job has ended, in place of the file's webhook.",
            show_default=False,
        ),
    ] = None,
    request_id: Annotated[
        str | None,
        typer.Option(
            metavar="UUID",
            help="The same id again gives the same job, never a second one.",
            show_default=False,
        ),
    ] = None,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Submit a job, show its progress, and save each video as it finishes."""
    from farm.cli import connecting, drafts, estimating, following, ladder, planning

    if draft and not (detach or dry_run):
        ladder.check_packages()
    key = _request_id(request_id)
    plan = planning.read_plan(file, lambda number: _drawn(key, number))
    images = planning.load_images(plan)
    if draft:
        plan = drafts.in_little(plan)
    if dry_run:
        planning.show(plan, as_json=as_json)
        estimating.show(
            plan.shots,
            lambda: connecting.client(
                ctx,
                address,
                token,
                connect_timeout,
                default_connect_timeout_s=estimating.CONNECT_TIMEOUT_S,
            ),
            lambda client: planning.estimate(
                client,
                drafts.shrink(client, plan) if draft else plan,
                images,
                use_cache=not no_cache,
            ),
            as_json=as_json,
        )
        return Exit.SUCCEEDED
    if detach and previews:
        raise CommandFailed("--previews is of a job that is watched; leave out --detach")
    view = following.choose_view(json=as_json, previews=previews)
    folder = out or Path(plan.output_dir or DEFAULT_FOLDER)
    if not detach:
        following.check_writable(folder)
        if not overwrite and request_id is None:
            planning.check_targets(plan, folder, receipts=receipts)
    with connecting.client(
        ctx,
        address,
        token,
        connect_timeout,
        default_connect_timeout_s=connecting.CONNECT_TIMEOUT_S,
    ) as client:
        if draft:
            plan = drafts.shrink(client, plan)
        handle = planning.send(
            client, plan, images, str(key), webhook=webhook, use_cache=not no_cache
        )
        if detach:
            following.print_detached(handle, len(plan.shots), as_json=as_json)
            return Exit.SUCCEEDED
        ended = following.watch_and_save(
            handle,
            view,
            folder,
            previews=previews,
            overwrite=overwrite,
            receipts=receipts,
            timeout_s=timeout,
        )
        if draft:
            ladder.save_sheet(handle, folder, overwrite=overwrite)
    return ended


def _request_id(given: str | None) -> uuid.UUID:
    if given is None:
        return uuid.uuid4()
    try:
        key = uuid.UUID(given)
    except ValueError:
        key = None
    if key is None or key.version != 4:
        raise CommandFailed(
            f"--request-id is {given!r}; allowed: a UUID of version 4, such as {uuid.uuid4()}"
        )
    return key


def _drawn(key: uuid.UUID, number: int) -> int:
    """A seed that the same request draws again, so that a repetition stays the same request."""
    digest = hashlib.sha256(f"{key}/{number}".encode()).digest()
    return int.from_bytes(digest[:4], "big") >> 1
