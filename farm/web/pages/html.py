"""Templates, and what they say of the farm's messages."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from jinja2 import Environment, PackageLoader, StrictUndefined

from farm.web.pages.thumbs import FirstImages
from svdfarm.v1 import resources_pb2 as pb


class Html:
    """Every page and every part of one."""

    ended_states = (pb.Job.SUCCEEDED, pb.Job.FAILED, pb.Job.CANCELLED)

    def __init__(self) -> None:
        self.images = FirstImages()
        self._pages = Environment(
            loader=PackageLoader("farm.web"),
            autoescape=True,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=StrictUndefined,
        )
        self._pages.filters |= {
            "id": self.id,
            "number": self.number,
            "job_state": lambda job: pb.Job.State.Name(job.state).lower(),
            "shot_state": lambda shot: pb.Shot.State.Name(shot.state).lower(),
            "worker_state": lambda worker: pb.Worker.State.Name(worker.state).lower(),
            "ended": lambda job: job.state in self.ended_states,
            "percent": self.job_percent,
            "iso": _iso,
            "utc": _utc,
            "duration": _duration,
            "data_url": lambda jpeg: f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}",
        }
        self._parts: Any = self._pages.get_template("parts.html").module

    def page(self, name: str, **told: Any) -> str:
        """A whole page."""
        return self._pages.get_template(f"{name}.html").render(**told)

    def part(self, name: str, **told: Any) -> str:
        """A macro of parts.html."""
        return str(getattr(self._parts, name)(**told)).strip()

    @staticmethod
    def id(name: str) -> str:
        """What follows the collection in a name, as in jobs/ID."""
        return name.split("/")[1]

    @staticmethod
    def number(name: str) -> int:
        """Of a shot."""
        return int(name.split("/")[3])

    @staticmethod
    def job_percent(job: pb.Job) -> int:
        """By the shots that have ended; 100 is all of them."""
        ended = job.succeeded_shot_count + job.failed_shot_count + job.cancelled_shot_count
        return 100 * ended // max(1, job.shot_count)

    def steps_percent(self, job: pb.Job, shots: Iterable[pb.Shot]) -> int:
        """By the steps of those that render, too."""
        started = sum(
            shot.progress.step / max(1, shot.progress.step_count)
            for shot in shots
            if shot.state == pb.Shot.RENDERING
        )
        percent = self.job_percent(job) + int(100 * started / max(1, job.shot_count))
        return min(99, percent)


def _iso(time: Timestamp) -> str:
    return _datetime(time).isoformat(timespec="seconds")


def _utc(time: Timestamp) -> str:
    return f"{_datetime(time):%Y-%m-%d %H:%M} UTC"


def _datetime(time: Timestamp) -> datetime:
    return datetime.fromtimestamp(time.seconds, UTC)


def _duration(duration_s: float) -> str:
    if duration_s < 60:
        return f"{duration_s:.1f} s"
    minutes, seconds = divmod(round(duration_s), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"
