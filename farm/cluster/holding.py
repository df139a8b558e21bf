"""A lease at its worker."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from farm.cluster.attempt_log import AttemptLog
from farm.cluster.session import Session
from svdfarm.v1 import session_service_pb2 as pb


@dataclass(eq=False)  # two are never the same
class Holding:
    """A lease that this worker holds, from Assign to Settled."""

    assign: pb.Assign
    log: AttemptLog
    cancelled: threading.Event = field(default_factory=threading.Event)
    cancelled_at: float | None = None  # by the gateway
    handed_back: bool = False  # cancelled because the worker leaves, not because the user wants
    preview_wanted: threading.Event = field(default_factory=threading.Event)  # by the gateway
    preview: bytes = b""  # goes with the progress of the step after which it was made
    told_at: float = field(default_factory=time.monotonic)  # how far it is, last
    report: pb.SessionRequest | None = None
    video: Path | None = None  # goes before `report`
    sent_in: Session | None = None
    came_s: float = field(default_factory=time.time)  # to the worker; Unix seconds

    def show(self, preview: bytes) -> None:
        """Keeps a preview for the next progress that is told."""
        self.preview_wanted.clear()
        self.preview = preview

    def tells(self, step: int) -> bool:
        """Whether the gateway is to hear that this step is done; it is told if so."""
        now, every_s = time.monotonic(), self.assign.progress_interval.ToMicroseconds() / 1e6
        if step != self.assign.tell_step and now - self.told_at < every_s:
            return False
        self.told_at = now
        return True

    @property
    def lease(self) -> pb.Lease:
        """What the gateway knows it by."""
        return self.assign.lease
