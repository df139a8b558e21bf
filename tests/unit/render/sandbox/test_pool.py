"""Decoders that break, lie or hang: their image is refused, and the next one is none of theirs."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farm.container.image import ImageHeader, ImageKind, read_header
from farm.render.errors import ImageRejected, SandboxUnavailable
from farm.render.sandbox import pool as module
from farm.render.sandbox.pool import Cancellation, DecodeCancelled, Pool
from tests.running import IMAGES, eventually

ROCKET = (IMAGES / "rocket.jpg").read_bytes()
HEADER = read_header(ROCKET)
# In the forker's own process, before it forks: what decodes there is a program of an attacker's.
TAKEN_OVER = """
    from farm.render.sandbox import decoder, forker, wire
    decoder.warm_up()
    decoder.warm_up = lambda: None
    wire.CPU_S = 1
    wire.WALL_S = 2.0
    import ctypes, os, time
    from PIL import Image
    def decode(data, kind):
        HARM
    decoder.decode = decode
"""

Attack = Callable[[str], None]


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool()
    yield made
    made.close()


@pytest.fixture
def take_over(monkeypatch: pytest.MonkeyPatch) -> Attack:
    """Has every forker that is started from now on decode by doing harm."""
    start = module._START

    def attack(harm: str) -> None:
        harm = TAKEN_OVER.lstrip("\n").replace("HARM", harm)
        monkeypatch.setattr(module, "_START", start.replace("try:\n", f"try:\n{harm}"))

    return attack


def pids(pool: Pool) -> list[int]:
    return [forker._process.pid for forker in pool._idle]


def decode(pool: Pool, *, pixels: bool = True) -> bytes:
    return pool.decode(ROCKET, HEADER, pixels=pixels).pixels


def test_one_forker_serves_image_after_image(pool: Pool) -> None:
    first = decode(pool)
    forker = pids(pool)

    assert len(forker) == 1
    assert len(first) == 640 * 427 * 3
    assert decode(pool) == first
    with pytest.raises(ImageRejected, match="cannot be decoded"):
        pool.decode(b"no PNG", ImageHeader(ImageKind.PNG, (9, 9)), pixels=False)
    assert decode(pool, pixels=False) == b""
    assert pids(pool) == forker


def test_a_thumbnail_is_a_small_jpeg(pool: Pool) -> None:
    small = read_header(pool.thumbnail(ROCKET, HEADER, 160))
    assert (small.kind, small.size) == (ImageKind.JPEG, (160, 107))
    assert read_header(pool.thumbnail(ROCKET, HEADER, 1000)).size == (640, 427)  # none is enlarged
    forker = pids(pool)
    with pytest.raises(ImageRejected, match="cannot be decoded"):
        pool.thumbnail(b"no PNG", ImageHeader(ImageKind.PNG, (9, 9)), 160)
    assert pids(pool) == forker


HEAD = "os.write(0, b'+' + (640).to_bytes(4, 'big') + (427).to_bytes(4, 'big') + {0}); os._exit(0)"


@pytest.mark.parametrize("small", ["b''", "b'no JPEG'", "data"])  # the last is larger than asked
def test_a_thumbnail_that_is_none_is_not_believed(
    pool: Pool, take_over: Attack, small: str
) -> None:
    take_over(HEAD.format(small))
    with pytest.raises(ImageRejected, match="breaks its decoder"):
        pool.thumbnail(ROCKET, HEADER, 400)
    assert pids(pool) == []


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("ctypes.string_at(0)", "breaks its decoder"),
        ("os._exit(0)", "breaks its decoder"),
        ("os._exit(3)", "breaks its decoder"),
        ("os.write(0, b'+' * 100); os._exit(0)", "breaks its decoder"),
        ("os.write(0, b'+' * (10 << 20)); os._exit(0)", "breaks its decoder"),
        ("return Image.new('RGB', (1, 1))", "breaks its decoder"),
        ("return Image.new('L', (640, 427))", "breaks its decoder"),
        ("\n        while True: pass", "takes longer than"),
        ("time.sleep(600)", "takes longer than"),
    ],
)
def test_a_decoder_that_does_harm_takes_its_forker_along(
    pool: Pool, take_over: Attack, monkeypatch: pytest.MonkeyPatch, harm: str, said: str
) -> None:
    take_over(harm)
    with pytest.raises(ImageRejected, match=said):
        decode(pool)

    assert pids(pool) == []
    monkeypatch.undo()
    assert len(decode(pool)) == 640 * 427 * 3


def test_a_decoder_that_wants_too_much_memory_says_so(pool: Pool, take_over: Attack) -> None:
    take_over("bytearray(2 << 30)")
    with pytest.raises(ImageRejected, match="more than 1024 MiB of memory"):
        decode(pool)


def test_what_a_decoder_says_is_short_and_printable(pool: Pool, take_over: Attack) -> None:
    take_over(r"raise ValueError('\x1b[2J\n' + 'a' * 9999)")
    with pytest.raises(ImageRejected) as refused:
        decode(pool)

    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500


def test_a_cancelled_decode_ends_at_once(pool: Pool, take_over: Attack) -> None:
    take_over("time.sleep(600)")
    cancellation = Cancellation()
    threading.Timer(0.2, cancellation.cancel).start()
    with pytest.raises(DecodeCancelled):
        pool.decode(ROCKET, HEADER, pixels=False, cancellation=cancellation)
    with pytest.raises(DecodeCancelled):  # nor does it begin
        pool.decode(ROCKET, HEADER, pixels=False, cancellation=cancellation)

    assert pids(pool) == []


def test_a_forker_that_does_not_start_is_told(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ROOT", Path("/nowhere"))
    monkeypatch.setattr(sys, "path", ["/nowhere"])
    with pytest.raises(SandboxUnavailable, match="does not start: ModuleNotFoundError"):
        decode(pool)


def test_what_cannot_be_had_is_told_once(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    lost = "try:\n    from farm.render.sandbox import confine\n"
    lost += "    confine.leave_network = lambda: ['network']\n"
    monkeypatch.setattr(module, "_START", module._START.replace("try:\n", lost))

    assert pool.untold() == ["network"]
    assert pool.untold() == []
    assert len(decode(pool)) == 640 * 427 * 3


KILLED = """if True:
    import sys, threading
    from farm.render.sandbox import pool
    start = pool._START
    pool._START = start.replace("serve(control)", "from farm.render.sandbox import decoder, wire;"
        "decoder.warm_up(); decoder.warm_up = lambda: None; wire.WALL_S = 600;"
        "import time; decoder.decode = lambda *_: time.sleep(600); serve(control)")
    from farm.container.image import read_header
    data = open(sys.argv[1], "rb").read()
    threading.Thread(target=pool.POOL.decode, args=(data, read_header(data)),
        kwargs={"pixels": False}, daemon=True).start()
    print(flush=True)
    input()
"""


def test_a_killed_process_leaves_no_decoder_behind() -> None:
    run = subprocess.Popen(
        [sys.executable, "-c", KILLED, IMAGES / "rocket.jpg"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    eventually(lambda: len(descendants(run.pid)) == 2)
    forked = descendants(run.pid)
    run.kill()
    run.communicate()

    eventually(lambda: not any(Path(f"/proc/{pid}/cmdline").exists() for pid in forked))


def descendants(pid: int) -> list[int]:
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found += [child, *descendants(child)]
    return found


def test_who_asks_loads_no_decoder() -> None:
    script = "import sys; import farm.render.sandbox.images;"
    script += "print([m for m in ('PIL', 'numpy', 'torch', 'ctypes') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert run.stdout.strip() == "[]", run.stderr
