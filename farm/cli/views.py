"""What `submit` and `watch` show while a job runs: lines of text, or JSON."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from farm.cli import as_json
from farm.cli.tables import printable
from svdfarm import Job, Shot, ShotState, Video

_STEPS_EVERY_S = 10.0


class View(Protocol):
    """Shows a job as it goes on. Used as a context manager."""

    def __enter__(self) -> Self:
        """Starts showing."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leaves the terminal as it was."""

    def job(self, job: Job) -> None:
        """The job changed."""

    def shot(self, shot: Shot) -> None:
        """A shot changed."""

    def saved(self, shot: Shot, video: Video, path: Path, *, skipped: bool) -> None:
        """A shot's video is at `path`; `skipped`: the same bytes were there before."""

    def not_saved(self, shot: Shot, message: str) -> None:
        """A shot's video could not be saved."""

    def note(self, text: str) -> None:
        """Something that the user should know."""


class _Silent:
    """Enters and leaves without a trace."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        return None


class JsonView(_Silent):
    """One JSON object a line; `event` is job, shot, saved or not_saved."""

    def job(self, job: Job) -> None:
        """See View."""
        _put(as_json.line({"event": "job", **as_json.job(job)}))

    def shot(self, shot: Shot) -> None:
        """See View."""
        _put(as_json.line({"event": "shot", **as_json.shot(shot)}))

    def saved(self, shot: Shot, video: Video, path: Path, *, skipped: bool) -> None:
        """See View."""
        event = {"event": "saved", "shot": shot.name, "path": str(path), "skipped": skipped}
        _put(as_json.line({**event, "sha256": video.sha256, "size_bytes": video.size_bytes}))

    def not_saved(self, shot: Shot, message: str) -> None:
        """See View."""
        _put(as_json.line({"event": "not_saved", "shot": shot.name, "message": message}))

    def note(self, text: str) -> None:
        """See View."""
        _put(as_json.line({"event": "note", "message": text}))


class PlainView(_Silent):
    """One line per change of state; steps now and then, so that a log shows that it lives."""

    def __init__(self) -> None:
        self._states: dict[str, str] = {}
        self._notice = ""
        self._told_steps_at: dict[str, float] = {}

    def job(self, job: Job) -> None:
        """See View."""
        if job.notice != self._notice:
            self._notice = job.notice
            if job.notice:
                _put(f"{job.name} {printable(job.notice)}")
        if self._states.get(job.name) != job.state:
            self._states[job.name] = job.state
            _put(f"{job.name} {job.state} {counts(job)}")

    def shot(self, shot: Shot) -> None:
        """See View."""
        line = shot_line(shot)
        known = self._states.get(shot.name, ShotState.QUEUED)
        if known != shot.state:
            self._states[shot.name] = shot.state
            self._told_steps_at[shot.name] = time.monotonic()
            _put(line)
        elif shot.progress and shot.state is ShotState.RENDERING:
            now = time.monotonic()
            if now - self._told_steps_at.get(shot.name, 0.0) >= _STEPS_EVERY_S:
                self._told_steps_at[shot.name] = now
                _put(line)

    def saved(self, shot: Shot, video: Video, path: Path, *, skipped: bool) -> None:
        """See View."""
        _put(saved_line(path, skipped=skipped))

    def not_saved(self, shot: Shot, message: str) -> None:
        """See View."""
        _complain(f"error: {shot.display_name}: {message}")

    def note(self, text: str) -> None:
        """See View."""
        _complain(text)


def counts(job: Job) -> str:
    """How far a job is, in words."""
    ended = job.succeeded_shot_count + job.failed_shot_count + job.cancelled_shot_count
    words = f"{ended} of {job.shot_count} shots ended"
    if job.failed_shot_count:
        words += f", {job.failed_shot_count} failed"
    if job.cancelled_shot_count:
        words += f", {job.cancelled_shot_count} cancelled"
    return words


def shot_line(shot: Shot) -> str:
    """A shot's state on one line."""
    line = f"{printable(shot.display_name)} {shot.state}"
    if shot.state is ShotState.QUEUED and shot.attempt_count:
        return f"{line} again after attempt {shot.attempt_count}"
    if shot.state is ShotState.RENDERING and shot.progress:
        return f"{line} step {shot.progress.step} of {shot.progress.step_count}"
    if shot.state is ShotState.FAILED and shot.error:
        return f"{line} {shot.error.reason}: {printable(shot.error.message)}"
    if shot.cached_from:
        return f"{line}, rendered before as {shot.cached_from}"
    if shot.state is ShotState.SUCCEEDED and shot.render_duration_s:
        return f"{line} in {shot.render_duration_s:.1f} s"
    return line


def saved_line(path: Path, *, skipped: bool) -> str:
    """Where a video is."""
    return f"skipped {path} (the same bytes are there)" if skipped else f"saved {path}"


def _put(line: str) -> None:
    print(line, flush=True)  # noqa: T201


def _complain(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201
