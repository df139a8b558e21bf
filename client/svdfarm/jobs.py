"""A job on the farm, to watch, wait for, collect, pause, cancel and delete."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from pathlib import Path

from svdfarm.async_jobs import AsyncFinishedVideo, AsyncJobHandle
from svdfarm.blocking import iterate, run
from svdfarm.resources import Attempt, Job, OnBytes, Shot, ShotState


class FinishedVideo:
    """A video that the farm has: `shot` and `video` describe it, `save` and `read` fetch it."""

    def __init__(self, finished: AsyncFinishedVideo) -> None:
        self._finished = finished
        self.shot = finished.shot
        self.video = finished.video

    def __repr__(self) -> str:
        return f"<FinishedVideo {self.video.name}: {self.shot.output_name}>"

    def save(
        self, path: str | Path, *, overwrite: bool = False, progress: OnBytes | None = None
    ) -> Path:
        """Saves the video at `path` and returns where.

        In a folder, one that is there or a path that ends with `/`, it gets the shot's output name.
        The file appears whole or not at all; one that is there with the same bytes is left. A
        broken download goes on where it stopped. `progress(bytes so far, bytes in all)` is called
        as they arrive. Raises TargetExists, DiskFull, DownloadBroken or SaveFailed.
        """
        return run(self._finished.save(path, overwrite=overwrite, progress=progress))

    def read(self) -> bytes:
        """The video's bytes, checked."""
        return run(self._finished.read())


class JobHandle:
    """One job. Nothing is asked of the farm until a method is called."""

    def __init__(self, job: AsyncJobHandle) -> None:
        self._job = job
        self.name = job.name

    def __repr__(self) -> str:
        return f"<JobHandle {self.name}>"

    def get(self) -> Job:
        """The job as it is now."""
        return run(self._job.get())

    def shots(self) -> Generator[Shot, None, None]:
        """The job's shots as they are now, in the order of submission."""
        return iterate(self._job.shots())

    def attempts(
        self, shot: Shot | None = None, *, log: bool = False
    ) -> Generator[Attempt, None, None]:
        """Each try at its shots, or at one: who, how long, and what came of it.

        In order of shot and attempt; with `log`, with the newest lines that its worker logged.
        """
        return iterate(self._job.attempts(shot, log=log))

    def watch(
        self, timeout_s: float | None = None, *, previews: bool = False
    ) -> Generator[Job | Shot, None, None]:
        """The job and its shots as they are, then each after every change, until the job ends.

        With `previews`, about five times a clip `shot.progress.preview` is a new small JPEG of its
        frames so far. Goes on where it stopped after a break. Raises DeadlineExceeded after
        `timeout_s`.
        """
        return iterate(self._job.watch(timeout_s, previews=previews))

    def videos(self, timeout_s: float | None = None) -> Generator[FinishedVideo, None, None]:
        """Each video as it is finished, until the job has ended. Failed shots give none.

        Raises as `watch`.
        """
        return (FinishedVideo(video) for video in iterate(self._job.videos(timeout_s)))

    def finished(self, shot: Shot) -> FinishedVideo:
        """The video of a shot that has succeeded. Raises SaveFailed for any other."""
        return FinishedVideo(self._job.finished(shot))

    def wait(self, timeout_s: float | None = None) -> Job:
        """The job when it has ended. Raises DeadlineExceeded after `timeout_s`."""
        return run(self._job.wait(timeout_s))

    def cancel(self, shots: Iterable[str | Shot] | None = None) -> Job:
        """Asks for cancellation and returns at once; what has ended stays as it is.

        With `shots` (or their names) only of those: the job goes on with the others, and how it
        ends is up to them. Raises NotFound for one that the job does not have.
        """
        return run(self._job.cancel(shots))

    def pause(self) -> Job:
        """Starts no shot from now on; those on a GPU finish. A job that has ended stays as it is.

        Raises Rejected for a job that is being cancelled.
        """
        return run(self._job.pause())

    def resume(self) -> Job:
        """Lets a paused job go on; any other stays as it is. Raises as `pause`."""
        return run(self._job.resume())

    def requeue(
        self,
        states: Iterable[ShotState] = (ShotState.FAILED,),
        shots: Iterable[str | Shot] = (),
    ) -> int:
        """Queues shots again that ended in `states`, FAILED or CANCELLED; returns how many.

        `shots` (or their names) narrows them down. Called again it changes nothing. Raises Rejected
        for a job that is being cancelled, and for a shot of `shots` that ended otherwise.
        """
        return run(self._job.requeue(states, shots))

    def update(self, *, priority: int | None = None, display_name: str | None = None) -> Job:
        """Changes what is given; shots that wait are served by the new priority, from 0 to 100."""
        return run(self._job.update(priority=priority, display_name=display_name))

    def delete(self) -> None:
        """Deletes the job, its shots and its videos. Raises Rejected for one that has not ended."""
        run(self._job.delete())
