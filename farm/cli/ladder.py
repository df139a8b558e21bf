"""`farm sheet` and `farm promote`: from cheap drafts of many seeds to the few that are rendered."""

from __future__ import annotations

import sys
import tempfile
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.exits import CommandFailed, Exit
from farm.cli.options import (
    DEFAULT_FOLDER,
    Address,
    AsJson,
    ConnectTimeout,
    JobName,
    Out,
    Overwrite,
    Receipts,
    Timeout,
    Token,
)
from farm.cli.picks import choose
from farm.jobs.draft import PREFIX

if TYPE_CHECKING:
    from farm.render.sheet import Row
    from svdfarm import JobHandle, Shot

_ROWS = 40  # of one picture
_FRAMES = 5

Picks = Annotated[
    str | None,
    typer.Option(
        "--shots", metavar="N,...", help="Only these: names, numbers or ranges such as 3,7-9."
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    for verb in (sheet, promote):
        app.command()(verb)


def sheet(
    ctx: typer.Context,
    job: JobName,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="A PNG, JPEG or WebP.  [default: sheet-ID.png]",
            show_default=False,
        ),
    ] = None,
    shots: Picks = None,
    frames: Annotated[
        int, typer.Option(min=1, max=25, metavar="N", help="Frames of each clip.")
    ] = _FRAMES,
    overwrite: Overwrite = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Make one picture of a job: frames of every clip, with its seed and settings."""
    from farm.cli import connecting

    with connecting.client(ctx, address, token, connect_timeout) as client:
        handle = client.job(job)
        found = choose(list(handle.shots()), shots)
        target = out or default_file(handle.name)
        with tempfile.TemporaryDirectory(prefix="farm-sheet-") as folder:

            def fetch(shot: Shot) -> Path:
                return handle.finished(shot).save(Path(folder) / shot.output_name)

            save(target, rows(found, fetch, frames), overwrite=overwrite)
    return Exit.SUCCEEDED


def promote(
    ctx: typer.Context,
    job: JobName,
    shots: Annotated[
        str,
        typer.Option(
            "--shots", metavar="N,...", help="The picks: names, numbers or ranges such as 3,7-9."
        ),
    ],
    size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Of the videos.  [default: the model's own]"),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Denoising steps.  [default: the model's own]"),
    ] = None,
    out: Out = None,
    detach: Annotated[
        bool, typer.Option("--detach", help="Print the new job's name and leave it to the farm.")
    ] = False,
    as_json: AsJson = False,
    overwrite: Overwrite = False,
    receipts: Receipts = False,
    timeout: Timeout = None,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Render picks of a draft at full size and steps, from the same images and seeds."""
    from farm.cli import connecting, following
    from svdfarm import NewShot

    width_px, height_px = _size(size)
    view = following.choose_view(json=as_json)
    folder = out or Path(DEFAULT_FOLDER)
    if not detach:
        following.check_writable(folder)
    patience_s = connecting.CONNECT_TIMEOUT_S
    with connecting.client(
        ctx, address, token, connect_timeout, default_connect_timeout_s=patience_s
    ) as client:
        handle = client.job(job)
        draft = handle.get()
        picks = [
            NewShot(again.image, again.params, again.name, again.output_name.removeprefix(PREFIX))
            for again in (
                NewShot.again(shot, width_px=width_px, height_px=height_px, step_count=steps)
                for shot in choose(list(handle.shots()), shots)
            )
        ]
        made = client.submit(
            picks,
            display_name=draft.display_name,
            priority=draft.priority,
            webhook=draft.webhook,
            request_id=str(uuid.uuid4()),
        )
        if detach:
            following.print_detached(made, len(picks), as_json=as_json)
            return Exit.SUCCEEDED
        return following.watch_and_save(
            made,
            view,
            folder,
            overwrite=overwrite,
            receipts=receipts,
            timeout_s=timeout,
        )


def save_sheet(handle: JobHandle, folder: Path, *, overwrite: bool) -> None:
    """The sheet of a draft whose videos are in `folder`, and how to go on."""
    found = list(handle.shots())
    target = folder / default_file(handle.name)
    save(target, rows(found, lambda shot: folder / shot.output_name, _FRAMES), overwrite=overwrite)
    told = f"to render the best: farm promote {handle.name} --shots N,..."
    print(told, file=sys.stderr)  # noqa: T201


def rows(shots: Sequence[Shot], fetch: Callable[[Shot], Path], frame_count: int) -> list[Row]:
    """A row for each shot; `fetch` brings the video of one that succeeded."""
    from farm.render.errors import VideoUnreadable
    from farm.render.sheet import Row, read_frames

    found = []
    for shot in shots:
        title = f"{shot.name.rpartition('/')[2]}  {shot.display_name}  {_settings(shot)}"
        if shot.video is None:
            why = f"{shot.state} {shot.error.reason}" if shot.error else str(shot.state)
            found.append(Row(title, problem=why))
            continue
        try:
            found.append(Row(title, read_frames(fetch(shot), frame_count)))
        except VideoUnreadable as error:
            found.append(Row(title, problem=str(error)))
    return found


def _settings(shot: Shot) -> str:
    params = shot.params
    return (
        f"seed {params.seed}  motion {params.motion_bucket_id}  noise {params.noise_aug_strength:g}"
        f"  {params.width_px}x{params.height_px}  {params.step_count} steps"
    )


def default_file(job: str) -> Path:
    """Where a job's sheet goes unless another file is named."""
    return Path(f"sheet-{job.removeprefix('jobs/')}.png")


def save(target: Path, found: Sequence[Row], *, overwrite: bool) -> None:
    """Writes the sheet, in several pictures where it is long, and says where."""
    from farm.render.sheet import draw

    pages = [found[start : start + _ROWS] for start in range(0, len(found), _ROWS)]
    for number, page in enumerate(pages, start=1):
        path = target if len(pages) == 1 else target.with_stem(f"{target.stem}-{number}")
        if path.exists() and not overwrite:
            raise CommandFailed(f"{path} is there already; give another --out, or --overwrite")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            draw(page).save(path)
        except ValueError as error:  # what Pillow says of an extension it does not know
            raise CommandFailed(f"{path}: {error}; allowed: .png, .jpg, .webp") from error
        print(f"saved {path}", file=sys.stderr)  # noqa: T201


def _size(text: str | None) -> tuple[int | None, int | None]:
    if text is None:
        return None, None
    width, cross, height = text.lower().partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise CommandFailed(f"--size is {text!r}; allowed: WIDTHxHEIGHT, such as 1024x576")
    return int(width), int(height)
