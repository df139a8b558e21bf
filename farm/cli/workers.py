"""`farm workers`: who renders."""

from __future__ import annotations

import sys

import typer

from farm.cli.exits import Exit
from farm.cli.options import Address, AsJson, ConnectTimeout, Token


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(workers)


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
                ", ".join(tables.model_name(model.name) for model in worker.models),
                f"{worker.hostname}/{worker.pid}",
                str(worker.refused_report_count),
                worker.error.message if worker.error else worker.shot or "idle",
            ]
            for worker in found
        ]
        tables.show(["WORKER", "STATE", "DEVICE", "MODELS", "HOST/PID", "REFUSED", "SHOT"], rows)
    else:
        print("no workers are connected", file=sys.stderr)  # noqa: T201
    return Exit.SUCCEEDED
