"""`farm sheet` and `farm promote`: from many cheap drafts to the few that are rendered."""

from __future__ import annotations

import os
import sys
import tempfile
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
from farm.cli.sizes import read_sides_px
from farm.cli.tables import printable
from farm.jobs.names import NameInvalid, check_output_name

if TYPE_CHECKING:
    from farm.render.sheet import Row
    from svdfarm import JobHandle, Shot

_ROWS = 40  # of one picture
_FRAMES = 5
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")

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

    check_packages()
    with connecting.client(ctx, address, token, connect_timeout) as client:
        handle = client.job(job)
        found = choose(list(handle.shots()), shots)
        target = out or default_file(handle.name)
        check(target, len(found), overwrite=overwrite)
        with tempfile.TemporaryDirectory(prefix="farm-sheet-") as folder:
            save(target, rows(found, lambda shot: fetch(handle, shot, Path(folder)), frames))
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
    """Render picks of a draft at full size and steps, from the same images, seeds and settings.

    A draft shows what image, crop and motion settings make of the model. It is a sample of the
    motion, not a preview of its seed: at another size the same seed moves otherwise.
    """
    from farm.cli import connecting, drafts, following, planning

    sides_px = None if size is None else read_sides_px(size)
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
        picks = drafts.whole(client, choose(list(handle.shots()), shots), sides_px, steps)
        if not detach and not overwrite:
            names = [pick.output_name for pick in picks]
            planning.check_names(names, folder, receipts=receipts)
        print(f"to be rendered: {drafts.describe(picks)}", file=sys.stderr)  # noqa: T201
        made = client.submit(
            picks,
            display_name=draft.display_name,
            priority=draft.priority,
            webhook=draft.webhook,
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


def fetch(handle: JobHandle, shot: Shot, folder: Path) -> Path:
    """Saves a shot's video in `folder`. Raises SaveFailed for a name that leads elsewhere."""
    return handle.finished(shot).save(folder)


def save_sheet(handle: JobHandle, folder: Path, *, overwrite: bool) -> None:
    """The sheet of a draft whose videos are in `folder`, and how to go on.

    The videos are there: that there is no sheet is told, and is no error.
    """
    from svdfarm import errors

    def saved(shot: Shot) -> Path:
        return folder / check_output_name(shot.output_name)

    target = folder / default_file(handle.name)
    try:
        found = list(handle.shots())
        check(target, len(found), overwrite=overwrite)
        save(target, rows(found, saved, _FRAMES))
    except (CommandFailed, OSError, NameInvalid, errors.SvdfarmError) as error:
        told = f"no sheet: {error}; to try again: farm sheet {handle.name}"
        print(printable(told), file=sys.stderr)  # noqa: T201
    told = f"to render the best: farm promote {handle.name} --shots N,..."
    print(told, file=sys.stderr)  # noqa: T201


def rows(shots: Sequence[Shot], find: Callable[[Shot], Path], frame_count: int) -> list[Row]:
    """A row for each shot; `find` has the video of one that succeeded."""
    from farm.render.errors import VideoUnreadable
    from farm.render.sheet import Row, read_frames
    from svdfarm import errors

    found = []
    for shot in shots:
        title = f"{shot.name.rpartition('/')[2]}  {shot.display_name}  {_settings(shot)}"
        if shot.video is None:
            why = f"{shot.state} {shot.error.reason}" if shot.error else str(shot.state)
            found.append(Row(title, problem=why))
            continue
        try:
            found.append(Row(title, read_frames(find(shot), frame_count)))
        except (
            VideoUnreadable,
            errors.DownloadBroken,
            errors.NotFound,
            errors.SaveFailed,
        ) as error:
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


def check_packages() -> None:
    """Raises ModuleNotFoundError where no sheet can be drawn, before anything else is done."""
    import farm.render.sheet  # noqa: F401


def check(target: Path, row_count: int, *, overwrite: bool) -> None:
    """Raises CommandFailed or OSError where a sheet of so many rows cannot be saved."""
    from farm.cli.following import check_writable

    if target.suffix.lower() not in _ENDINGS:
        raise CommandFailed(f"{target} is no kind of picture; allowed: {', '.join(_ENDINGS)}")
    check_writable(target.parent)
    for path in _pages(target, row_count):
        if path.is_dir():
            raise CommandFailed(f"{path} is a folder; give another --out")
        if os.path.lexists(path) and not overwrite:
            raise CommandFailed(f"{path} is there already; give another --out, or --overwrite")


def save(target: Path, found: Sequence[Row]) -> None:
    """Writes the sheet, in several pictures where it is long, and says where."""
    from farm.render.sheet import draw

    target.parent.mkdir(parents=True, exist_ok=True)
    for number, path in enumerate(_pages(target, len(found))):
        draw(found[number * _ROWS : (number + 1) * _ROWS]).save(path)
        print(f"saved {path}", file=sys.stderr)  # noqa: T201


def _pages(target: Path, row_count: int) -> list[Path]:
    count = -(-row_count // _ROWS)
    if count <= 1:
        return [target]
    return [target.with_stem(f"{target.stem}-{number}") for number in range(1, count + 1)]
