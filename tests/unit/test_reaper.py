"""A test run that is killed leaves no server behind."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from tests.running import eventually


def told_before_it_was_killed(script: str) -> list[str]:
    """What a process says that is then killed."""
    run = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout is not None
    told = run.stdout.readline().split()
    run.kill()
    run.communicate()
    return told


def test_a_run_that_is_killed_leaves_no_postgresql() -> None:
    folder, pid = told_before_it_was_killed("""if True:
        from tests.postgres import running_postgres
        with running_postgres() as server:
            pid = (server._folder / "data" / "postmaster.pid").read_text().split()[0]
            print(server._folder, pid, flush=True)
            input()
    """)
    eventually(lambda: not Path(folder).exists() and not runs(pid))


def runs(pid: str) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def test_a_run_that_is_killed_leaves_no_s3_server() -> None:
    (port,) = told_before_it_was_killed("""if True:
        from tests.s3 import running_s3
        with running_s3() as server:
            print(server.port, flush=True)
            input()
    """)
    eventually(lambda: not answers(int(port)))


def answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0
