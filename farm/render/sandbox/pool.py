"""The forkers of this process, and one image's way through one of them."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from farm.container.image import ImageHeader, ImageKind, read_header
from farm.container.parts import Size
from farm.container.reading import Torn
from farm.render.errors import ImageRejected, SandboxUnavailable
from farm.render.sandbox import wire

_ROOT = Path(__file__).parents[3]  # where `import farm` finds this farm
_START_LIMIT_S = 30.0
_END_LIMIT_S = 5.0  # beyond the decoder's own limit
_IDLE_LIMIT = 4
_BREAKS = "breaks its decoder"
_SLOW = (signal.SIGXCPU, signal.SIGKILL)
T = TypeVar("T")

_START = """
import socket, sys
control = socket.socket(fileno=int(sys.argv[1]))
sys.path[:] = sys.argv[2:]
try:
    from farm.render.sandbox.forker import serve
    serve(control)
except Exception as error:
    control.sendall(repr(error).encode() + b"\\n")
    raise
"""


@dataclass(frozen=True)
class Decoded:
    """A picture that could be decoded: its size upright, and (height, width, channel) if wanted."""

    size: Size
    pixels: bytes


class DecodeCancelled(Exception):
    """Nobody waits for the picture any more."""


class Cancellation:
    """Lets another thread end a decode."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._end: Callable[[], None] | None = None
        self.cancelled = False

    def cancel(self) -> None:
        """Ends the decode at once: it raises DecodeCancelled."""
        with self._lock:
            self.cancelled = True
            if self._end is not None:
                self._end()

    @contextlib.contextmanager
    def ending_with(self, end: Callable[[], None]) -> Iterator[None]:
        """Has `cancel` call `end` within the with block. Raises DecodeCancelled."""
        with self._lock:
            if self.cancelled:
                raise DecodeCancelled
            self._end = end
        try:
            yield
        finally:
            with self._lock:
                self._end = None


class _Broken(Exception):
    """The forker or its process did not do what it should: it is not to be trusted any more."""


class _Forker:
    """A forker, started; for one image at a time."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        library = os.environ.get("LD_LIBRARY_PATH")  # some Pythons do not start without
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", _START, str(theirs.fileno()), *_paths()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={"LD_LIBRARY_PATH": library} if library else {},
                start_new_session=True,  # Ctrl-C is not for it
                cwd="/",
            )
        self._control = ours
        self.missing = self._hear()

    def _hear(self) -> list[str]:
        """What it says once it is ready: what cannot be taken away from decoders here."""
        self._control.settimeout(_START_LIMIT_S)
        said = b""
        with contextlib.suppress(OSError):
            while not said.endswith(b"\n") and (part := self._control.recv(4096)):
                said += part
        try:
            return [str(layer) for layer in json.loads(said)]
        except ValueError:
            self.end()
            told = said.decode(errors="replace").strip() or "it says nothing"
            raise SandboxUnavailable(
                f"The process that decodes images does not start: {told}. See `farm doctor`."
            ) from None

    def ask(self, head: bytes, data: bytes, limit: int) -> bytes:
        """The answer of a process that ended as it should. Raises ImageRejected, _Broken."""
        deadline = time.monotonic() + wire.WALL_S + _END_LIMIT_S
        ours, theirs = socket.socketpair()
        with ours:
            try:
                with theirs:
                    socket.send_fds(self._control, [b"d"], [theirs.fileno()])
                answer = _ask(ours, head, data, limit, deadline)
                self._control.settimeout(max(0.001, deadline - time.monotonic()))
                status = self._control.recv(wire.STATUS.size)
            except OSError as error:
                raise _Broken("does not answer") from error
        if len(status) != wire.STATUS.size:
            raise _Broken("has ended")
        self._judge(wire.STATUS.unpack(status)[0])
        return answer

    def _judge(self, status: int) -> None:
        if status == 0:
            return
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) in _SLOW:
            raise _Broken(f"takes longer than {wire.CPU_S} s to decode, the most allowed")
        raise _Broken(_BREAKS)

    def end(self) -> None:
        """Ends it, and what it forked."""
        self._process.kill()
        self._process.wait()
        self._control.close()

    def kill(self) -> None:
        """Kills it; for another thread than the one that waits for its answer."""
        self._process.kill()


def _paths() -> list[str]:
    """Where this process finds its modules; without the folder that it happens to be in."""
    return [str(_ROOT), *(str(Path(path).absolute()) for path in sys.path if path)]


def _ask(ours: socket.socket, head: bytes, data: bytes, limit: int, deadline: float) -> bytes:
    answer = bytearray()
    try:
        ours.settimeout(max(0.001, deadline - time.monotonic()))
        ours.sendall(head)
        ours.sendall(data)
        ours.shutdown(socket.SHUT_WR)
        while True:
            ours.settimeout(max(0.001, deadline - time.monotonic()))
            part = ours.recv(1 << 20)
            if not part:
                break
            answer += part
            if len(answer) > limit:
                raise _Broken(_BREAKS)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it has ended: its status tells how
    return bytes(answer)


class Pool:
    """Forkers that are kept for the next image; made when there is none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Forker] = []
        self._pid = os.getpid()
        self._told = False
        atexit.register(self.close)

    def decode(
        self,
        data: bytes,
        header: ImageHeader,
        *,
        pixels: bool,
        cancellation: Cancellation | None = None,
    ) -> Decoded:
        """The picture, from a process that is gone. Blocks.

        Raises ImageRejected, SandboxUnavailable, DecodeCancelled.
        """
        width, height = header.size
        return self._decode(
            wire.QUESTION.pack(_number(header), pixels, 0, len(data)),
            data,
            wire.PICTURE.size + (3 * width * height if pixels else wire.WHY_LIMIT_BYTES),
            lambda answer: _read_picture(answer, header, pixels=pixels),
            cancellation or Cancellation(),
        )

    def thumbnail(self, data: bytes, header: ImageHeader, side_px: int) -> bytes:
        """A JPEG of the picture, no wider and no higher than `side_px`. Blocks and raises alike."""
        return self._decode(
            wire.QUESTION.pack(_number(header), False, side_px, len(data)),
            data,
            wire.PICTURE.size + wire.WHY_LIMIT_BYTES + 3 * side_px * side_px,
            lambda answer: _read_thumbnail(answer, header, side_px),
            Cancellation(),
        )

    def _decode(
        self,
        head: bytes,
        data: bytes,
        limit: int,
        read: Callable[[bytes], T],
        cancellation: Cancellation,
    ) -> T:
        forker = self._take()
        trusted = False
        try:
            with cancellation.ending_with(forker.kill):
                answer = forker.ask(head, data, limit)
            decoded = read(answer)
            trusted = True
        except ImageRejected:
            trusted = True
            raise
        except _Broken as broken:
            if cancellation.cancelled:
                raise DecodeCancelled from broken
            raise ImageRejected(f"The image {broken}. Save it again.") from broken
        finally:
            if trusted and not cancellation.cancelled:
                self._give_back(forker)
            else:
                forker.end()
        return decoded

    def missing(self) -> list[str]:
        """What cannot be taken away from decoders on this machine. Raises SandboxUnavailable."""
        forker = self._take()
        self._give_back(forker)
        return forker.missing

    def untold(self) -> list[str]:
        """The same, once in the life of this process, and nothing after."""
        with self._lock:
            told, self._told = self._told, True
        return [] if told else self.missing()

    def close(self) -> None:
        """Ends the forkers that wait; more are made when more images come."""
        with self._lock:
            idle, self._idle = self._idle, []
        if self._pid == os.getpid():
            for forker in idle:
                forker.end()

    def _take(self) -> _Forker:
        with self._lock:
            if self._pid != os.getpid():  # a fork of ours: these are not its own
                self._idle, self._pid = [], os.getpid()
            if self._idle:
                return self._idle.pop()
        return _Forker()

    def _give_back(self, forker: _Forker) -> None:
        with self._lock:
            if len(self._idle) < _IDLE_LIMIT:
                self._idle.append(forker)
                return
        forker.end()


def _number(header: ImageHeader) -> int:
    return list(ImageKind).index(header.kind)


def _read_picture(answer: bytes, header: ImageHeader, *, pixels: bool) -> Decoded:
    """What was answered, if it fits the header. Raises ImageRejected, _Broken."""
    size, content = _read_answer(answer, header)
    if len(content) != (3 * size[0] * size[1] if pixels else 0):
        raise _Broken(_BREAKS)
    return Decoded(size, content)


def _read_thumbnail(answer: bytes, header: ImageHeader, side_px: int) -> bytes:
    """The same for a small one, which is a whole JPEG."""
    _, content = _read_answer(answer, header)
    try:
        small = read_header(content)
    except Torn as error:
        raise _Broken(_BREAKS) from error
    if small.kind is not ImageKind.JPEG or max(small.size) > side_px:
        raise _Broken(_BREAKS)
    return content


def _read_answer(answer: bytes, header: ImageHeader) -> tuple[Size, bytes]:
    """The picture's size, and what else was answered. Raises ImageRejected, _Broken."""
    if answer.startswith(wire.BAD):
        why = answer[1 : 1 + wire.WHY_LIMIT_BYTES].decode(errors="replace")
        told = "".join(letter for letter in why if letter.isprintable())
        raise ImageRejected(f"The image cannot be decoded: {told}. Save it again.")
    if len(answer) < wire.PICTURE.size or not answer.startswith(wire.GOOD):
        raise _Broken(_BREAKS)
    _, width, height = wire.PICTURE.unpack_from(answer)
    if sorted((width, height)) != sorted(header.size):
        raise _Broken(_BREAKS)
    return (width, height), answer[wire.PICTURE.size :]


POOL = Pool()
