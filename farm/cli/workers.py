"""`farm workers`, `drain`, `uncordon`: who renders, and who is to."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.exits import CommandFailed, Exit
from farm.cli.options import Address, AsJson, ConnectTimeout, Token

if TYPE_CHECKING:
    from svdfarm import Client, Worker

_LOOK_EVERY_S = 0.5

WorkerNames = Annotated[
    list[str], typer.Argument(metavar="WORKER...", help="As `farm workers` shows it.")
]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    for verb in (workers, drain, uncordon):
        app.command()(verb)


def workers(
    ctx: typer.Context,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """List the workers and what each renders now."""
    from farm.cli import as_json as json_lines
    from farm.cli import connecting, tables

    with connecting.client(ctx, address, token, connect_timeout) as client:
        found = list(client.workers())
    if as_json:
        for worker in found:
            print(json_lines.line(json_lines.worker(worker)))  # noqa: T201
    elif found:
        rows = [
            [
                worker.name.removeprefix("workers/"),
                worker.state,
                worker.device,
                worker.group or "-",
                ", ".join(tables.model_name(model.name) for model in worker.models),
                f"{worker.hostname}/{worker.pid}",
                str(worker.refused_report_count),
                worker.error.message if worker.error else worker.shot or "idle",
            ]
            for worker in found
        ]
        tables.show(
            ["WORKER", "STATE", "DEVICE", "GROUP", "MODELS", "HOST/PID", "REFUSED", "SHOT"], rows
        )
    else:
        print("no workers are connected", file=sys.stderr)  # noqa: T201
    return Exit.SUCCEEDED


def drain(
    ctx: typer.Context,
    workers: Annotated[
        list[str] | None,
        typer.Argument(metavar="WORKER...", help="As `farm workers` shows it.", show_default=False),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(metavar="HOST", help="All workers of this machine.", show_default=False),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(
            "--wait",
            metavar="S",
            min=0,
            help="Return once none of them holds a shot, after so long in any case.",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Let workers end their shots, and give them no others."""
    from farm.cli import connecting

    if not workers and host is None:
        raise CommandFailed("say which workers: by name, or with --host those of a machine")
    with connecting.client(ctx, address, token, connect_timeout) as client:
        names = [*(workers or [])]
        if host is not None:
            names += [worker.name for worker in client.workers() if worker.hostname == host]
        code = _each(client.drain_worker, names, as_json=as_json)
        if wait is not None and not _all_idle(client, names, wait):
            raise CommandFailed(f"after {wait:g} s a worker still holds a shot", Exit.TIMED_OUT)
        return code


def _all_idle(client: Client, names: Collection[str], timeout_s: float) -> bool:
    """Whether none of the workers holds a shot any more, once it is so or time is over."""
    whole = {f"workers/{name.removeprefix('workers/')}" for name in names}
    deadline = time.monotonic() + timeout_s
    while any(worker.name in whole and worker.shot for worker in client.workers()):
        if time.monotonic() >= deadline:
            return False
        time.sleep(_LOOK_EVERY_S)
    return True


def uncordon(
    ctx: typer.Context,
    workers: WorkerNames,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Give shots again to workers that are CORDONED, and forgive what spoke against them."""
    from farm.cli import connecting

    with connecting.client(ctx, address, token, connect_timeout) as client:
        return _each(client.uncordon_worker, workers, as_json=as_json)


def _each(act: Callable[[str], Worker], names: list[str], *, as_json: bool) -> Exit:
    """Acts on every worker, also behind one that is refused; REFUSED if one was."""
    from farm.cli import as_json as json_lines
    from farm.cli.tables import printable
    from svdfarm import errors

    code = Exit.SUCCEEDED
    for name in names:
        try:
            worker = act(name)
        except (errors.Rejected, errors.NotFound) as error:
            code = Exit.REFUSED
            print("error:", printable(str(error)), file=sys.stderr)  # noqa: T201
            continue
        if as_json:
            print(json_lines.line(json_lines.worker(worker)))  # noqa: T201
        else:
            print(f"{worker.name} {worker.state}")  # noqa: T201
    return code
