"""What a decoder that was taken over can still do."""

from __future__ import annotations

import subprocess
import sys

import pytest

from farm.render.sandbox.pool import POOL

# Runs code as a decoder does, with one end of a socket and nothing else, and tells how it went.
CONFINED = """
import ctypes, errno, mmap, os, signal, socket, sys, threading, time
from farm.render.sandbox import confine
libc = ctypes.CDLL(None, use_errno=True)
ours, theirs = socket.socketpair()
parent = os.getpid()
confine.leave_network()
if (pid := os.fork()) == 0:
    theirs = os.dup(theirs.fileno())
    confine.confine(parent, filtered=not confine.missing_filter())
    try:
        told = str(CODE)
    except OSError as error:
        told = errno.errorcode[error.errno]
    except BaseException as error:
        told = type(error).__name__
    os.write(theirs, told.encode())
    os._exit(0)
theirs.close()
print(ours.recv(100).decode())
os.waitpid(pid, 0)
ours.close()
"""
needs_all = pytest.mark.skipif(
    bool(POOL.missing()), reason="this machine lets nobody have namespaces and seccomp"
)


def done_confined(code: str) -> str:
    script = CONFINED.replace("CODE", code)
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@needs_all
@pytest.mark.parametrize(
    "code",
    [
        'open("/etc/passwd")',
        'open("/tmp/svdfarm-escape", "w")',
        'os.mkdir("/tmp/svdfarm-escape")',
        'os.listdir("/")',
        "socket.socket()",
        "socket.socket(socket.AF_UNIX)",
        "socket.socketpair()",
        "os.pipe()",
        "os.fork()",
        'os.execv("/bin/sh", ["sh"])',
        "os.kill(parent, 0)",
        "os.kill(parent, signal.SIGKILL)",
        "os.setpriority(os.PRIO_PROCESS, 0, -1)",
        "os.dup(0)",
        "mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)",
    ],
)
def test_a_decoder_reaches_nothing(code: str) -> None:
    assert done_confined(code) in ("EPERM", "PermissionError")


@needs_all
@pytest.mark.parametrize("number", [101, 157, 165, 272, 310, 311, 321, 425])
def test_a_decoder_makes_no_other_call(number: int) -> None:
    # ptrace, prctl, mount, unshare, process_vm_readv and writev, bpf, io_uring_setup
    if "x86_64" not in sys.implementation._multiarch:
        pytest.skip("the numbers are those of x86-64")
    told = done_confined(f"(libc.syscall({number}, 0, 0, 0, 0, 0), ctypes.get_errno())")
    assert told == "(-1, 1)"  # EPERM


@needs_all
def test_a_decoder_is_alone_in_its_network() -> None:
    script = "from farm.render.sandbox import confine; confine.leave_network();"
    script += "import socket; print([name for _, name in socket.if_nameindex()])"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert run.stdout.strip() == "['lo']", run.stderr


def test_a_decoder_has_memory_for_one_image() -> None:
    assert done_confined("len(bytearray(1 << 28))") == str(1 << 28)
    assert done_confined("len(bytearray(2 << 30))") == "MemoryError"


def test_a_decoder_may_use_threads() -> None:  # as libwebp does
    code = "(t := threading.Thread(target=lambda: time.sleep(0)), t.start(), t.join())[2]"
    assert done_confined(code) == "None"
