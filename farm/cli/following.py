"""Follows a job to its end, saving every video as soon as it is finished."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from farm.cli import as_json as json_lines
from farm.cli import connecting
from farm.cli.exits import CommandFailed, Exit
from farm.cli.sidecar import SidecarNotWritten, write_sidecar
from farm.cli.views import JsonView, PlainView, View
from farm.jobs import names
from farm.jobs.params import NOTES
from farm.render.errors import VideoUnreadable
from svdfarm import Job, JobHandle, JobState, Shot, errors


class Saver:
    """Saves finished videos in one folder, each once; `failed` tells whether one was not.

    With `receipts`, each video's receipt goes beside it.
    """

    def __init__(
        self, handle: JobHandle, view: View, folder: Path, *, overwrite: bool, receipts: bool
    ) -> None:
        self._handle = handle
        self._view = view
        self._folder = folder
        self._overwrite = overwrite
        self._receipts = receipts
        self._seen: set[str] = set()
        self.failed = False

    def save(self, shot: Shot) -> None:
        """Saves the shot's video if it has one and was not seen before."""
        if shot.video is None or shot.name in self._seen:
            return
        self._seen.add(shot.name)
        try:
            path = self._folder / names.check_output_name(shot.output_name)
            if path.is_dir():  # the SDK would save in it
                self._refuse(shot, f"{path} is a folder; give another --out")
                return
            was_there = path.exists() and not self._overwrite
            self._handle.finished(shot).save(path, overwrite=self._overwrite)
            if self._receipts:
                write_sidecar(path, overwrite=self._overwrite)
        except errors.TargetExists as error:
            self._refuse(
                shot,
                f"{error}; --overwrite replaces it, "
                f"`farm download {self._handle.name} --out DIR` saves elsewhere",
            )
        except (
            errors.SaveFailed,
            errors.NotFound,
            names.NameInvalid,
            VideoUnreadable,
            SidecarNotWritten,
        ) as error:
            self._refuse(shot, str(error))
        else:
            self._view.saved(shot, shot.video, path, skipped=was_there)

    def _refuse(self, shot: Shot, message: str) -> None:
        self.failed = True
        self._view.not_saved(shot, message)


def follow(
    handle: JobHandle,
    view: View,
    saver: Saver | None,
    *,
    previews: bool = False,
    timeout_s: float | None,
) -> Exit:
    """Shows the job until it ends; the exit code says how. Raises errors of the SDK."""
    job: Job | None = None
    told = False
    for event in handle.watch(timeout_s=timeout_s, previews=previews):
        if isinstance(event, Job):
            job = event
            view.job(job)
        else:
            model = event.params.model
            if model is not None and model in NOTES and not told:
                told = True
                view.note(f"model {model}: {NOTES[model]}")
            view.shot(event)
            if saver is not None:
                saver.save(event)
    if saver is not None and saver.failed:
        return Exit.REFUSED
    return ending(job or handle.get())


def choose_view(*, json: bool, previews: bool = False) -> View:
    """JSON where asked for, bars on a terminal, plain lines elsewhere.

    Raises CommandFailed for `previews` where no pictures can be shown.
    """
    if json:
        return JsonView()
    if sys.stdout.isatty():
        from rich.console import Console  # loaded where it is shown

        from farm.cli.live import LiveView
        from farm.cli.previews import Previews

        console = Console(highlight=False)
        return LiveView(console, Previews(console, os.environ) if previews else None)
    if previews:
        raise CommandFailed("--previews needs a terminal, and the output is none; or give --json")
    return PlainView()


def watch_and_save(
    handle: JobHandle,
    view: View,
    folder: Path | None,
    *,
    previews: bool = False,
    overwrite: bool,
    receipts: bool,
    timeout_s: float | None,
) -> Exit:
    """Follows the job to its end; Ctrl-C and a timeout leave it running and say how to go on."""
    again = f"farm watch {handle.name}" + (f" --out {folder}" if folder else "")
    again += " --receipts" if folder and receipts else ""
    saver = Saver(handle, view, folder, overwrite=overwrite, receipts=receipts) if folder else None
    try:
        with view:
            return follow(handle, view, saver, previews=previews, timeout_s=timeout_s)
    except KeyboardInterrupt:
        raise CommandFailed(
            f"stopped watching; {handle.name} goes on. To go on watching: {again}",
            Exit.INTERRUPTED,
        ) from None
    except errors.DeadlineExceeded as error:
        raise CommandFailed(
            f"{error}; it goes on. To go on watching: {again}", Exit.TIMED_OUT
        ) from error
    except errors.Unreachable as error:
        raise CommandFailed(
            f"{connecting.unreachable(error)}. {handle.name} goes on when it is back; to go on "
            f"watching then: {again}",
            Exit.UNREACHABLE,
        ) from error


def print_detached(handle: JobHandle, shot_count: int, *, as_json: bool) -> None:
    """Prints the name of a job that is left to the farm, as the first word or as JSON."""
    if as_json:
        line = json_lines.line(
            {"event": "submitted", "name": handle.name, "shot_count": shot_count}
        )
    else:
        line = f"{handle.name} submitted; to see it: farm watch {handle.name}"
    print(line, flush=True)  # noqa: T201


def ending(job: Job) -> Exit:
    """The exit code that tells how a job ended; SUCCEEDED for one that has not."""
    match job.state:
        case JobState.FAILED:
            return Exit.SHOTS_FAILED
        case JobState.CANCELLED:
            return Exit.CANCELLED
        case _:
            return Exit.SUCCEEDED


def check_writable(folder: Path) -> Path:
    """`folder` itself, if it can be written or made. Raises OSError; makes nothing yet."""
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    if not there.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(there))
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, "permission denied", str(there))
    return folder
