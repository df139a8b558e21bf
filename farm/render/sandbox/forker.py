"""A process that has Pillow loaded and forks one process for each image it is handed.

It takes a socket over its control socket, forks, tells how that process ended, and takes the next;
it never reads of an image. It ends when its control socket closes, and so does what it forked.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import warnings

from farm.container.image import ImageKind
from farm.render.sandbox import confine, decoder, wire


def serve(control: socket.socket) -> None:
    """Says what cannot be taken away from decoders here, then forks until `control` closes."""
    os.environ.clear()
    warnings.simplefilter("ignore")  # of what is odd in somebody's image, and nobody reads
    decoder.warm_up()
    unfiltered = confine.missing_filter()
    missing = confine.leave_network() + unfiltered
    control.sendall(json.dumps(missing).encode() + b"\n")
    me = os.getpid()
    while True:
        _, handed, _, _ = socket.recv_fds(control, 1, 1)
        if not handed:
            return
        pid = os.fork()
        if pid == 0:
            _be_decoder(handed[0], me, filtered=not unfiltered)
        os.close(handed[0])
        control.sendall(wire.STATUS.pack(_wait(pid, control)))


def _wait(pid: int, control: socket.socket) -> int:
    """How the process ended; it is ended when it takes too long or nobody wants it any more."""
    ended = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(ended, select.POLLIN)
        poll.register(control, select.POLLIN)
        if (ended, select.POLLIN) not in poll.poll(wire.WALL_S * 1000):
            os.kill(pid, signal.SIGKILL)
        return os.waitpid(pid, 0)[1]
    finally:
        os.close(ended)


def _be_decoder(connection: int, parent_pid: int, *, filtered: bool) -> None:
    """What a forked process does: one image, and its end."""
    code = 1
    try:
        os.dup2(connection, 0)
        os.closerange(1, os.sysconf("SC_OPEN_MAX"))
        confine.confine(parent_pid, filtered=filtered)
        _write(_answer(_read()))
        code = 0
    finally:
        os._exit(code)


def _answer(question: bytes) -> list[bytes]:
    number, pixels, side_px, size_bytes = wire.QUESTION.unpack_from(question)
    data = question[wire.QUESTION.size :]
    if len(data) != size_bytes:
        raise ValueError("the image has not come whole")
    try:
        image = decoder.decode(data, list(ImageKind)[number])
        head = wire.PICTURE.pack(wire.GOOD, *image.size)
        if side_px:
            return [head, decoder.thumbnail(image, side_px)]
        return [head, image.tobytes()] if pixels else [head]
    except MemoryError:
        why = f"it takes more than {wire.MEMORY_BYTES >> 20} MiB of memory"
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise anything on broken files
        why = str(error) or type(error).__name__
    return [wire.BAD, why.encode(errors="replace")[: wire.WHY_LIMIT_BYTES]]


def _read() -> bytes:
    parts = []
    while part := os.read(0, 1 << 20):
        parts.append(part)
    return b"".join(parts)


def _write(parts: list[bytes]) -> None:
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[os.write(0, view) :]
