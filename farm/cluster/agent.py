"""The lease loop of a worker: takes shots from the gateway, renders them, reports.

Threads, started by `start` and ended by `stop`: `dial` holds the session and reads it;
`heartbeat` renews the leases, whatever the renderer does; `render_all` renders one shot after the
other; `write_all` encodes and sends what was rendered, while the next shot renders; `upload_all`
puts videos into the farm's bucket, where the gateway links them there; `watch_for_end` drains it
when its machine ends. A report is kept until the
gateway has settled it, and sent again in the next session.
"""

from __future__ import annotations

import os
import platform
import queue
import random
import shutil
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable
from pathlib import Path

import grpc
import structlog

from farm.cluster import leaving, spans
from farm.cluster.attempt_log import AttemptLog
from farm.cluster.device import DeviceMeter
from farm.cluster.direct import FarmBucket
from farm.cluster.holding import Holding
from farm.cluster.reports import done, failed, progress, reason_of, released, with_log
from farm.cluster.scratch import make_folder
from farm.cluster.session import Session, SessionBroken, why_broken
from farm.jobs.retry import CordonReason, Reason
from farm.render.errors import RenderCancelled, RenderError
from farm.render.preview import Previews
from farm.render.renderer import Rendered, Renderer
from farm.wire import memory_from_wire, model_to_wire, params_from_wire
from svdfarm.target import Target
from svdfarm.tls import Tls
from svdfarm.v1 import resources_pb2
from svdfarm.v1 import session_service_pb2 as pb

log = structlog.get_logger()

_RETRY_FIRST_S = 0.1
_RETRY_MAX_S = 1.0
_LET_GO_S = 300.0  # for a cancelled shot; a step that compiles may take minutes
_LEAVING = "the worker had to leave"
_HAND_BACK_S = 5.0  # how long a step may take once the shots are to be handed back


class Agent:
    """A worker as the gateway sees it."""

    def __init__(
        self,
        address: str,
        token: str | None,
        *,
        folder: Path,
        version: str = "",
        group: str = "",
        tls: Tls | None = None,
        plaintext: bool = False,
        on_broken_device: Callable[[], None] = lambda: None,
    ) -> None:
        """Raises svdfarm.Rejected for an address, or files of TLS, that cannot be used."""
        hostname = platform.node() or "localhost"
        self.id = f"{hostname.split('.')[0]}-{uuid.uuid4().hex[:8]}"
        self._target = Target.read(address, token, tls, plaintext=plaintext)
        self._token = token
        self._folder = make_folder(folder)
        self._on_broken_device = on_broken_device
        self._about = resources_pb2.Worker(
            name=f"workers/{self.id}",
            hostname=hostname,
            pid=os.getpid(),
            version=version,
            group=group,
        )
        self._lock = threading.Condition()  # of everything below
        self._holdings: dict[str, Holding] = {}
        self._todo: deque[Holding] = deque()  # those of them that it has not begun
        self._dialled: Session | None = None
        self._session: Session | None = None  # the same, once the gateway has welcomed it
        self._renderer: Renderer | None = None
        self._leaving = False
        self.problem = ""  # why the last session broke
        self._heartbeat_s = 0.2  # until a gateway says how often
        self._stopped = threading.Event()
        # One clip waits while another is written: memory is bounded, and the device held up only
        # where writing and sending take longer than rendering.
        self._rendered: queue.Queue[tuple[Holding, Rendered] | None] = queue.Queue(maxsize=1)
        self._linked: queue.SimpleQueue[tuple[Session, pb.UploadLink] | None] = queue.SimpleQueue()
        self._bucket = FarmBucket(self._stopped)
        self._meter = DeviceMeter()
        run = (
            self._dial,
            self._heartbeat,
            self._render_all,
            self._write_all,
            self._upload_all,
            self._watch_for_end,
        )
        self._threads = [
            threading.Thread(target=target, name=target.__name__.strip("_"), daemon=True)
            for target in run
        ]

    def start(self) -> None:
        """Dials the gateway: the worker is listed as STARTING."""
        for thread in self._threads:
            thread.start()

    def serve(self, renderer: Renderer, fault: str = "") -> None:
        """Takes shots from now on: the worker is ACTIVE; with a `fault` it is CORDONED."""
        self._meter.look(renderer)
        with self._lock:
            self._renderer = renderer
            self._about.device = renderer.device
            self._about.models.append(model_to_wire(renderer.info))
            if fault:
                reason = CordonReason.CANARY_FAILED
                self._about.error.CopyFrom(resources_pb2.Error(reason=reason, message=fault))
            session = self._session
        if session is not None:
            self._tell_ready(session)

    def drain(self, timeout_s: float) -> None:
        """Ends the shots it has begun and takes no more; hands back what takes longer than this."""
        told_at = time.monotonic()
        deadline = told_at + timeout_s
        self._leave()
        with self._lock:
            while self._holdings and time.monotonic() < deadline:
                if self._session is not None:
                    told_at = time.monotonic()
                elif time.monotonic() - told_at > _HAND_BACK_S:
                    return  # nobody is there to take what it holds
                self._lock.wait(0.2)
            for holding in self._holdings.values():
                holding.handed_back = True
                holding.cancelled.set()
            self._lock.wait_for(lambda: not self._holdings, _HAND_BACK_S)

    @property
    def connected(self) -> bool:
        """Whether a gateway has welcomed it."""
        return self._session is not None

    @property
    def alive(self) -> bool:
        """Whether every thread of it runs, and its device lets go of what was cancelled."""
        return all(thread.is_alive() for thread in self._threads) and not self._hangs()

    def _hangs(self) -> bool:
        since = time.monotonic() - _LET_GO_S
        with self._lock:
            return any(
                holding.cancelled_at is not None and holding.cancelled_at < since
                for holding in self._holdings.values()
                if holding.report is None
            )

    def stop(self) -> None:
        """Ends the session and the threads."""
        self._stopped.set()
        self._linked.put(None)
        with self._lock:
            for holding in self._holdings.values():
                holding.cancelled.set()
            self._lock.notify_all()
            session = self._dialled
        if session is not None:
            session.close()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(timeout=10)
        shutil.rmtree(self._folder, ignore_errors=True)

    # dial

    def _dial(self) -> None:
        retry_s = _RETRY_FIRST_S
        while not self._stopped.is_set():
            session = None
            started = time.monotonic()
            try:
                session = Session(self._target, self._token)
                with self._lock:
                    self._dialled = session
                self._hello(session)
                for response in session:
                    self._take(session, response)
                log.info("session.closed", worker=self.id)
            except (grpc.RpcError, SessionBroken) as error:
                if not self._stopped.is_set():
                    self.problem = why_broken(error, self._target)
                    log.warning("session.broken", worker=self.id, error=self.problem)
            except Exception as error:  # the wall: a worker that dials no more is lost
                log.error("session.failed", worker=self.id, exc_info=error)
            finally:
                with self._lock:
                    self._session = None
                if session is not None:
                    session.close()
            retry_s = _RETRY_FIRST_S if time.monotonic() - started > 1 else retry_s
            self._stopped.wait(retry_s * random.uniform(0.5, 1))  # noqa: S311 - spreads the herd
            retry_s = min(retry_s * 2, _RETRY_MAX_S)

    def _hello(self, session: Session) -> None:
        with self._lock:
            leases = [holding.lease for holding in self._holdings.values()]
            hello = pb.Hello(worker=self._about, leases=leases)
        session.send(pb.SessionRequest(hello=hello))

    def _take(self, session: Session, response: pb.SessionResponse) -> None:
        match response.WhichOneof("message"):
            case "welcome":
                self._welcomed(session, response.welcome)
            case "assign":
                self._assigned(response.assign)
            case "cancel":
                self._cancelled(response.cancel.lease)
            case "drain":
                self._leave()
            case "settled":
                self._settled(response.settled)
            case "preview_request":
                self._preview_wanted(response.preview_request.lease)
            case "upload_link":
                self._linked.put((session, response.upload_link))

    def _welcomed(self, session: Session, welcome: pb.Welcome) -> None:
        with self._lock:
            self._heartbeat_s = welcome.heartbeat_interval.ToMicroseconds() / 1e6
            session.links_videos = welcome.direct_upload
            self._session = session
            ready = self._renderer is not None
            if self._leaving:
                self._tell_leaving()
            unsettled = [h for h in self._holdings.values() if h.report is not None]
        if ready:
            self._tell_ready(session)
        for holding in unsettled:
            self._send_report(holding)

    def _tell_ready(self, session: Session) -> None:
        try:
            session.send(pb.SessionRequest(ready=pb.Ready(worker=self._about)))
        except SessionBroken:
            return  # the next session tells it

    def _assigned(self, assign: pb.Assign) -> None:
        holding = Holding(assign, AttemptLog(assign.lease, self.id, [self._token or ""]))
        with self._lock:
            if assign.lease.token in self._holdings:
                return
            self._holdings[assign.lease.token] = holding
            self._todo.append(holding)
            self._lock.notify_all()
        if self._leaving:  # said while this was on its way
            self._hand_back()

    def _cancelled(self, lease: pb.Lease) -> None:
        with self._lock:
            holding = self._holdings.get(lease.token)
            if holding is None:
                return
            holding.cancelled_at = holding.cancelled_at or time.monotonic()
            holding.cancelled.set()
            if holding not in self._todo:
                return  # its renderer looks at every step
            self._todo.remove(holding)
        self._report(holding, released(lease))

    def _preview_wanted(self, lease: pb.Lease) -> None:
        with self._lock:
            holding = self._holdings.get(lease.token)
        if holding is not None:
            holding.preview_wanted.set()

    def _leave(self) -> None:
        """Takes no more shots; those that it has not begun may begin elsewhere."""
        with self._lock:
            self._leaving = True
            self._tell_leaving()
        self._hand_back()

    def _hand_back(self) -> None:
        with self._lock:
            unbegun = list(self._todo)
            self._todo.clear()
        for holding in unbegun:
            self._report(holding, failed(holding.lease, Reason.WORKER_DRAINED, _LEAVING))

    def _settled(self, settled: pb.Settled) -> None:
        with self._lock:
            holding = self._holdings.pop(settled.lease.token, None)
            self._lock.notify_all()
        if holding is not None and holding.video is not None:
            holding.video.unlink(missing_ok=True)
        if not settled.accepted:
            log.warning(
                "report.refused",
                shot=settled.lease.shot,
                attempt=settled.lease.attempt,
                worker=self.id,
            )

    def _tell_leaving(self) -> None:
        if self._session is not None:
            self._session.send_first(pb.SessionRequest(draining=pb.Draining()))

    # heartbeat

    def _heartbeat(self) -> None:
        while not self._stopped.wait(self._heartbeat_s):
            with self._lock:
                session = self._session
            if session is not None:
                session.send_first(pb.SessionRequest(heartbeat=self._meter.heartbeat()))

    def _watch_for_end(self) -> None:
        leaving.watch(self._folder, self._stopped, self.drain)

    # render

    def _render_all(self) -> None:
        while (holding := self._next()) is not None:
            try:
                self._rendered.put((holding, self._render(holding)))
            except Exception as error:  # noqa: BLE001 - the wall of this thread tells the gateway
                self._report(holding, self._failure(holding, error))
        self._rendered.put(None)

    def _next(self) -> Holding | None:
        """The shot to render now, from here on begun; None once the worker is stopped."""
        with self._lock:
            self._lock.wait_for(lambda: self._todo or self._stopped.is_set())
            return None if self._stopped.is_set() else self._todo.popleft()

    def _render(self, holding: Holding) -> Rendered:
        lease, renderer = holding.lease, self._renderer
        assert renderer is not None  # the gateway assigns after Ready
        memory = memory_from_wire(holding.assign.memory_profile)
        holding.log.info("shot.started", device=renderer.device, memory=memory.name)
        params = params_from_wire(holding.assign.params)
        self._begun(lease, params.step_count or 0)
        traced = spans.rendering(lease, self.id, renderer.device, holding.came_s)
        with self._meter.busy(renderer), traced as rendered:
            clip = renderer.render(
                holding.assign.image,
                params,
                on_step=lambda step, count: self._progress(holding, step, count),
                cancelled=holding.cancelled.is_set,
                memory=memory,
                previews=Previews(holding.preview_wanted.is_set, holding.show),
            )
            return rendered(clip)

    def _failure(self, holding: Holding, error: Exception) -> pb.SessionRequest:
        """The report of a shot that ended without a video."""
        lease = holding.lease
        match error:
            case RenderCancelled():
                holding.log.info("shot.stopped", told=str(error))
                if holding.handed_back:
                    return failed(lease, Reason.WORKER_DRAINED, _LEAVING)
                return released(lease)
            case RenderError():
                holding.log.warning("shot.failed", reason=str(error.reason), told=str(error))
                return failed(lease, error.reason, str(error))
        holding.log.error("render.failed", error)
        reason = reason_of(error)
        if reason is Reason.GPU_ERROR:
            # Whatever it is given next would fail too: a new process takes over.
            self._leave()
            self._on_broken_device()
        return failed(lease, reason, f"{type(error).__name__}: {error}")

    def _begun(self, lease: pb.Lease, step_count: int) -> None:
        # Ahead of all else: a shot that kills this process was begun, and is charged.
        with self._lock:
            session = self._session
        if session is not None:
            session.send_first(progress(lease, 0, step_count))

    def _progress(self, holding: Holding, step: int, step_count: int) -> None:
        preview, holding.preview = holding.preview, b""
        with self._lock:
            session = self._session
        if session is not None and (holding.tells(step) or preview):
            session.offer(progress(holding.lease, step, step_count, preview))
        assert self._renderer is not None
        self._meter.look(self._renderer)

    # write

    def _write_all(self) -> None:
        while (finished := self._rendered.get()) is not None:
            holding, rendered = finished
            try:
                report = self._write(holding, rendered)
            except Exception as error:  # noqa: BLE001 - as above
                report = self._failure(holding, error)
            del finished, rendered  # the frames are large, and sending may take a while
            self._report(holding, report)

    def _write(self, holding: Holding, rendered: Rendered) -> pb.SessionRequest:
        path = self._folder / f"{uuid.uuid4().hex}.{rendered.params.container}"
        video = rendered.write(path)
        holding.video = path
        lease = holding.lease
        spans.written(lease, video)
        took = {f"{stage}_s": seconds for stage, seconds in video.durations_s.items()}
        holding.log.info("shot.rendered", size_bytes=video.size_bytes, **took)
        return done(lease, video)

    def _report(self, holding: Holding, report: pb.SessionRequest) -> None:
        with self._lock:
            holding.report = report
        self._send_report(holding)

    def _send_report(self, holding: Holding) -> None:
        """Sends a report once a session: where that breaks, the next one sends it again."""
        with self._lock:
            session, report = self._session, holding.report
            if session is None or report is None or holding.sent_in is session:
                return
            holding.sent_in = session
        if holding.video is not None and session.links_videos and self._bucket.in_reach:
            request = pb.UploadRequest(lease=holding.lease, video=report.done.video)
            session.send_first(pb.SessionRequest(upload_request=request))
            return  # the link comes to `upload_all`
        self._send(session, holding, report)

    def _send(self, session: Session, holding: Holding, report: pb.SessionRequest) -> None:
        told = with_log(report, holding.log)
        try:
            if holding.video is not None and not report.done.uploaded:
                session.send_video(holding.lease, holding.video)
                session.send(told)
            else:  # it need not wait for the video of another shot
                session.send_first(told)
        except SessionBroken:
            holding.log.info("report.kept")
        except OSError as error:  # the video cannot be read back, now or ever
            holding.log.error("report.lost", error)
            with self._lock:
                holding.report = failed(holding.lease, Reason.INTERNAL, f"video lost: {error}")
                holding.video, holding.sent_in = None, None
            self._send_report(holding)

    # upload

    def _upload_all(self) -> None:
        while (linked := self._linked.get()) is not None:
            session, link = linked
            with self._lock:
                holding = self._holdings.get(link.lease.token)
                if holding is None or holding.report is None or holding.sent_in is not session:
                    continue
                report, video = holding.report, holding.video
            if video is not None and link.url and self._bucket.put(link, video, holding.log):
                uploaded = pb.SessionRequest()
                uploaded.CopyFrom(report)
                uploaded.done.uploaded = True
                report = uploaded
            self._send(session, holding, report)
