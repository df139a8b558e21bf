"""The system calls that a decoder may make; every other one fails with EPERM (seccomp(2)).

An allow-list: memory, time, threads, and reading and writing what is open already. No file, no
socket, no program, no process and nobody else's memory can be had with these.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import NamedTuple

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _EQUAL, _ANY_BIT, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06  # classic BPF
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _ARCH_AT, _ARGUMENTS_AT = 0, 4, 16  # in struct seccomp_data
_PROT_EXEC, _CLONE_THREAD = 4, 0x10000
_X32 = 0x40000000
_INSTRUCTION = struct.Struct("=HBBI")


class _Machine(NamedTuple):
    arch: int  # AUDIT_ARCH_*
    allowed: frozenset[int]
    mmap: int
    mprotect: int
    clone: int


_CLONE3 = 435  # the same everywhere
_MACHINES = {
    # read write close fstat poll lseek munmap brk rt_sig{action,procmask,return} sched_yield mremap
    # madvise nanosleep getpid exit getrusage sigaltstack gettid futex sched_getaffinity
    # restart_syscall clock_gettime clock_nanosleep exit_group set_robust_list getrandom membarrier
    # rseq
    "x86_64": _Machine(
        0xC000003E,
        frozenset((0, 1, 3, 5, 7, 8, 11, 12, 13, 14, 15, 24, 25, 28, 35, 39, 60, 98, 131, 186))
        | {202, 204, 219, 228, 230, 231, 273, 318, 324, 334},
        mmap=9,
        mprotect=10,
        clone=56,
    ),
    # The same by other numbers; ppoll for poll.
    "aarch64": _Machine(
        0xC00000B7,
        frozenset((57, 62, 63, 64, 73, 80, 93, 94, 98, 99, 101, 113, 115, 123, 124, 128, 132, 134))
        | {135, 139, 165, 172, 178, 214, 215, 216, 233, 278, 283, 293},
        mmap=222,
        mprotect=226,
        clone=220,
    ),
}


class _Program(ctypes.Structure):
    _fields_ = (("count", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def problem(libc: ctypes.CDLL) -> str:
    """Why the filter cannot be had here; empty where it can."""
    if platform.machine() not in _MACHINES:
        return f"none is made for {platform.machine()}"
    # With a bad address: EFAULT where the kernel would have read a filter from there.
    libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, None, 0, 0)
    number = ctypes.get_errno()
    return "" if number == errno.EFAULT else os.strerror(number)


def install(libc: ctypes.CDLL) -> None:
    """Allows this process so little from now on; it must have no_new_privs. Raises OSError."""
    code = _assemble(_MACHINES[platform.machine()])
    buffer = ctypes.create_string_buffer(code, len(code))
    program = _Program(len(code) // _INSTRUCTION.size, ctypes.addressof(buffer))
    if libc.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp filter")


def _assemble(machine: _Machine) -> bytes:
    assert sys.byteorder == "little"  # an argument's low half comes first
    denied, unknown = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
    program = [
        (_LOAD, 0, 0, _ARCH_AT),
        (_EQUAL, 1, 0, machine.arch),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, _NUMBER_AT),
        (_AT_LEAST, 0, 1, _X32),
        (_RETURN, 0, 0, denied),
    ]
    for number in sorted(machine.allowed):
        program += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ALLOW)]
    for number in (machine.mmap, machine.mprotect):
        program += _by_argument(number, 2, _PROT_EXEC, with_bit=denied, without=_ALLOW)
    program += _by_argument(machine.clone, 0, _CLONE_THREAD, with_bit=_ALLOW, without=denied)
    # The C library then takes clone, whose flags are no pointer and can be looked at.
    program += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, unknown)]
    program += [(_RETURN, 0, 0, denied)]
    return b"".join(_INSTRUCTION.pack(*instruction) for instruction in program)


def _by_argument(
    number: int, index: int, bit: int, *, with_bit: int, without: int
) -> list[tuple[int, int, int, int]]:
    return [
        (_EQUAL, 0, 4, number),
        (_LOAD, 0, 0, _ARGUMENTS_AT + 8 * index),
        (_ANY_BIT, 0, 1, bit),
        (_RETURN, 0, 0, with_bit),
        (_RETURN, 0, 0, without),
    ]
