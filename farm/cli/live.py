"""A job on a terminal: a bar per shot with its steps and ETA, and one for the whole job."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from farm.cli.previews import Previews
from farm.cli.tables import STYLES, printable
from farm.cli.views import counts, saved_line, shot_line
from svdfarm import Job, Shot, ShotState, Video

_FEW = 12  # with more shots than these, those that wait are not shown
_ROWS_AT_MOST = 20
_BAR_WIDTH = 20
# Decoding and encoding follow the last step: a clip at its last step is nearly done.
_STEPS_SHARE = 0.9


@dataclass
class _Pace:
    """How fast something advances, measured from when it was first seen."""

    since_s: float
    first: float

    def left_s(self, now: float, done: float, total: float) -> float | None:
        """Seconds until `total` at the pace so far; None before there is any."""
        gained, elapsed = done - self.first, now - self.since_s
        return (total - done) * elapsed / gained if gained > 0 and elapsed > 0 else None

    def told(self, now: float, done: float) -> str:
        """The pace so far for people; empty before there is any."""
        gained, elapsed = done - self.first, now - self.since_s
        # Not before one is done: the first of all takes its time to begin.
        if gained < 1 or elapsed <= 0:
            return ""
        per_min = gained / elapsed * 60
        return f", {per_min:.1f} a minute" if per_min >= 1 else f", {per_min * 60:.1f} an hour"


class LiveView:
    """Bars below, and above them a line for every video that is saved and shot that failed."""

    def __init__(self, console: Console | None = None, previews: Previews | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._previews = previews
        self._job: Job | None = None
        self._job_pace: _Pace | None = None
        self._shots: dict[str, Shot] = {}  # those that have not ended
        self._paces: dict[str, _Pace] = {}
        self._steps_done = 0.0  # in shots, of those that have not ended
        self._notice = ""
        # Last: it renders at once.
        self._live = Live(
            console=self._console, get_renderable=self._render, refresh_per_second=5, transient=True
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._live.stop()
        if self._previews is not None:
            self._previews.close()
        if self._job is not None:
            self._say(_stated(self._job.name, self._job.state, counts(self._job)))

    def job(self, job: Job) -> None:
        """See View."""
        if job.notice and job.notice != self._notice:
            self._say(Text(printable(job.notice), style="yellow"))
        self._notice = job.notice
        self._job = job
        if self._job_pace is None:
            self._say(Text(f"{job.name} {printable(job.display_name)}".rstrip(), style="bold"))
            self._job_pace = _Pace(time.monotonic(), _ended(job))

    def shot(self, shot: Shot) -> None:
        """See View."""
        if self._previews is not None:
            self._previews.take(shot)
        before = self._shots.pop(shot.name, None)
        self._steps_done -= _fraction(before)
        if shot.state.final:
            self._paces.pop(shot.name, None)
            self._say(Text(shot_line(shot), style=STYLES.get(shot.state, "")))
            return
        self._shots[shot.name] = shot
        self._steps_done += _fraction(shot)
        if shot.state is not ShotState.RENDERING:
            self._paces.pop(shot.name, None)
        elif shot.name not in self._paces:
            self._paces[shot.name] = _Pace(time.monotonic(), _step(shot))

    def saved(self, shot: Shot, video: Video, path: Path, *, skipped: bool) -> None:
        """See View."""
        self._say(Text(saved_line(path, skipped=skipped)))

    def not_saved(self, shot: Shot, message: str) -> None:
        """See View."""
        self._say(Text(f"error: {printable(shot.display_name)}: {message}", style="red"))

    def note(self, text: str) -> None:
        """See View."""
        self._say(Text(text, style="yellow"))

    def _say(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)

    def _render(self) -> RenderableType:
        bars = self._bars()
        if self._previews is None:
            return bars
        # What is higher than the terminal would be cut off at its end, where the job's own bar is.
        return Group(*self._previews.fitting(self._console.height - bars.row_count - 1), bars)

    def _bars(self) -> Table:
        now = time.monotonic()
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, overflow="ellipsis")
        for _ in range(3):
            table.add_column(no_wrap=True)
        if self._job is None:
            return table
        every = self._job.shot_count <= _FEW
        shots = [self._shots[name] for name in self._paces] if not every else self._shots.values()
        for shot in sorted(shots, key=lambda s: s.name)[:_ROWS_AT_MOST]:
            table.add_row(*self._row(shot, now))
        total, done = self._job.shot_count, _ended(self._job) + self._steps_done
        left_s, pace = None, ""
        if self._job_pace is not None:
            left_s = self._job_pace.left_s(now, done, total)
            pace = self._job_pace.told(now, done)
        table.add_row(
            Text(printable(self._job.display_name) or self._job.name, style="bold"),
            ProgressBar(total=total, completed=done, width=_BAR_WIDTH),
            _stated("", self._job.state, f"{_ended(self._job)}/{total} shots{pace}"),
            _eta(left_s),
        )
        return table

    def _row(self, shot: Shot, now: float) -> tuple[Text, ProgressBar, Text, Text]:
        step, steps = _step(shot), _steps(shot)
        pace = self._paces.get(shot.name)
        told, left_s = Text("queued", style="dim"), None
        if pace is not None:
            left_s = pace.left_s(now, step, steps)
            told = Text(f"step {step}/{steps}" if step else "starting")
            if steps and step >= steps:
                told, left_s = Text("decoding"), None
        if shot.attempt_count > 1:
            told.append(f" (attempt {shot.attempt_count})", style="yellow")
        bar = ProgressBar(total=max(steps, 1), completed=step, width=_BAR_WIDTH)
        return Text(printable(shot.display_name)), bar, told, _eta(left_s)


def _stated(before: str, state: str, after: str) -> Text:
    text = Text(f"{before} " if before else "")
    return text.append(state, style=STYLES.get(state, "")).append(f" {after}")


def _ended(job: Job) -> int:
    return job.succeeded_shot_count + job.failed_shot_count + job.cancelled_shot_count


def _step(shot: Shot) -> int:
    return shot.progress.step if shot.progress and shot.state is ShotState.RENDERING else 0


def _steps(shot: Shot) -> int:
    return shot.progress.step_count if shot.progress else shot.params.step_count or 0


def _fraction(shot: Shot | None) -> float:
    steps = _steps(shot) if shot else 0
    return _STEPS_SHARE * _step(shot) / steps if shot and steps else 0.0


def _eta(left_s: float | None) -> Text:
    if left_s is None:
        return Text("")
    minutes, seconds = divmod(math.ceil(left_s), 60)
    hours, minutes = divmod(minutes, 60)
    clock = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
    return Text(f"{clock} left", style="dim")
