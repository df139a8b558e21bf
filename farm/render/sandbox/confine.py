"""What is taken away from a process before it decodes; what the kernel lets nobody take is told."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

from farm.render.sandbox import seccomp, wire

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_NEW_USER, _NEW_NET, _NEW_IPC = 0x10000000, 0x40000000, 0x08000000

_libc = ctypes.CDLL(None, use_errno=True)


def leave_network() -> list[str]:
    """Moves this process, and those to come, into a network without interfaces: what is missing."""
    if _libc.unshare(_NEW_USER | _NEW_NET | _NEW_IPC) == 0:
        return []
    return [f"namespaces without network: {os.strerror(ctypes.get_errno())}"]


def missing_filter() -> list[str]:
    """What is missing of `confine` on this machine."""
    found = seccomp.problem(_libc)
    return [f"{wire.FILTER} (seccomp): {found}"] if found else []


def confine(parent_pid: int, *, filtered: bool) -> None:
    """Takes everything away from this process that decoding does not need. Raises OSError."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # it ended before that
        os._exit(1)
    _prctl(_PR_SET_DUMPABLE, 0)  # nobody looks into it, nor it into /proc/self
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, 0)
    _limit(resource.RLIMIT_NOFILE, 0)  # what is open stays open
    _limit(resource.RLIMIT_CPU, wire.CPU_S)
    _limit(resource.RLIMIT_AS, wire.MEMORY_BYTES)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    if filtered:
        seccomp.install(_libc)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option})")


def _limit(kind: int, wanted: int) -> None:
    allowed = resource.getrlimit(kind)[1]
    value = wanted if allowed == resource.RLIM_INFINITY else min(wanted, allowed)
    resource.setrlimit(kind, (value, value))
