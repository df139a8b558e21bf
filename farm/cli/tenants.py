"""`farm tenant create`, `set`, `list`, `show`: whose jobs are apart, and what they may take."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.exits import CommandFailed, Exit
from farm.cli.options import Address, AsJson, ConnectTimeout, Token
from farm.cli.sizes import read_size_bytes

if TYPE_CHECKING:
    from svdfarm import Tenant

tenant = typer.Typer(
    name="tenant",
    help="Make tenants, whose jobs, images and videos are apart, and say what each may take.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

_NONE = "none"
_DIGITS = 30  # more than a limit has
Name = Annotated[str, typer.Argument(metavar="NAME", help="Of a-z, 0-9 and -, such as acme.")]
DisplayName = Annotated[
    str | None, typer.Option("--display-name", metavar="TEXT", help="For people.")
]
Weight = Annotated[
    float | None,
    typer.Option(
        metavar="NUMBER",
        help="Its part of the farm beside those of others, from 0.001 to 1000.  [default: 1]",
        show_default=False,
    ),
]
MaxQueued = Annotated[
    str | None,
    typer.Option(
        metavar="COUNT|none", help="Shots that wait or render; none lifts it.", show_default=False
    ),
]
MaxStored = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE|none", help="Of its images and videos, such as 50GiB.", show_default=False
    ),
]
MaxStreams = Annotated[
    str | None,
    typer.Option(
        metavar="COUNT|none",
        help="Uploads, downloads and watches open at one gateway.",
        show_default=False,
    ),
]
MaxRequests = Annotated[
    str | None,
    typer.Option(
        metavar="COUNT|none", help="Calls of one gateway in a minute.", show_default=False
    ),
]
GpuHours = Annotated[
    str | None,
    typer.Option(
        "--gpu-hours-per-day",
        metavar="HOURS|none",
        help="How long its shots may hold workers within a day.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(tenant)


@tenant.command()
def create(
    ctx: typer.Context,
    name: Name,
    display_name: DisplayName = None,
    weight: Weight = None,
    max_queued: MaxQueued = None,
    max_stored: MaxStored = None,
    max_streams: MaxStreams = None,
    max_requests: MaxRequests = None,
    gpu_hours_per_day: GpuHours = None,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Make a tenant. Whoever is to use it needs a token: farm token create --tenant NAME."""
    from farm.cli import connecting

    limits = _limits(max_queued, max_stored, max_streams, max_requests, gpu_hours_per_day)
    with connecting.client(ctx, address, token, connect_timeout) as client:
        made = client.create_tenant(
            name,
            display_name=display_name or "",
            weight=1.0 if weight is None else weight,
            limits=limits,
        )
    _show(made, as_json=as_json)
    return Exit.SUCCEEDED


@tenant.command("set")
def set_tenant(
    ctx: typer.Context,
    name: Name,
    display_name: DisplayName = None,
    weight: Weight = None,
    max_queued: MaxQueued = None,
    max_stored: MaxStored = None,
    max_streams: MaxStreams = None,
    max_requests: MaxRequests = None,
    gpu_hours_per_day: GpuHours = None,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Change what a tenant may take; it holds within seconds. What is not given stays."""
    from farm.cli import connecting

    limits = _limits(max_queued, max_stored, max_streams, max_requests, gpu_hours_per_day)
    if not limits and display_name is None and weight is None:
        raise CommandFailed(
            "nothing is to be changed; allowed: --display-name, --weight, --max-queued, "
            "--max-stored, --max-streams, --max-requests, --gpu-hours-per-day"
        )
    with connecting.client(ctx, address, token, connect_timeout) as client:
        changed = client.update_tenant(
            name, display_name=display_name, weight=weight, limits=limits
        )
    _show(changed, as_json=as_json)
    return Exit.SUCCEEDED


@tenant.command("list")
def list_tenants(
    ctx: typer.Context,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """List the tenants, and what each has taken of what it may."""
    from farm.cli import as_json as json_lines
    from farm.cli import connecting, tables

    with connecting.client(ctx, address, token, connect_timeout) as client:
        found = list(client.tenants())
    if as_json:
        for one in found:
            print(json_lines.line(json_lines.tenant(one)))  # noqa: T201
    else:
        tables.show(["TENANT", "WEIGHT", "SHOTS", "STORED", "GPU TODAY"], [_row(t) for t in found])
    return Exit.SUCCEEDED


@tenant.command()
def show(
    ctx: typer.Context,
    name: Name,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Show a tenant: what it may take, and what it has taken."""
    from farm.cli import connecting

    with connecting.client(ctx, address, token, connect_timeout) as client:
        found = client.tenant(name)
    _show(found, as_json=as_json)
    return Exit.SUCCEEDED


def _limits(
    max_queued: str | None,
    max_stored: str | None,
    max_streams: str | None,
    max_requests: str | None,
    gpu_hours: str | None,
) -> dict[str, float | None]:
    given: dict[str, tuple[str | None, str, Callable[[str, str], float]]] = {
        "max_queued_shots": (max_queued, "--max-queued", _count),
        "max_stored_bytes": (max_stored, "--max-stored", read_size_bytes),
        "max_streams": (max_streams, "--max-streams", _count),
        "max_requests_per_minute": (max_requests, "--max-requests", _count),
        "max_gpu_seconds_per_day": (gpu_hours, "--gpu-hours-per-day", _gpu_s),
    }
    return {
        limit: None if text == _NONE else read(text, flag)
        for limit, (text, flag, read) in given.items()
        if text is not None
    }


def _count(text: str, flag: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= _DIGITS):
        raise CommandFailed(f"{flag} is {text[:40]!r}; allowed: a whole number from 0, or none")
    return int(text)


def _gpu_s(text: str, flag: str) -> float:
    try:
        hours = float(text)
    except ValueError:
        hours = -1.0
    if not 0 <= hours < float("inf"):
        raise CommandFailed(f"{flag} is {text!r}; allowed: hours from 0, such as 2.5, or none")
    return hours * 3600


def _show(one: Tenant, *, as_json: bool) -> None:
    from farm.cli import as_json as json_lines
    from farm.cli.tables import printable
    from farm.store.room import told

    if as_json:
        print(json_lines.line(json_lines.tenant(one)))  # noqa: T201
        return
    limits, used = one.limits, one.usage
    shown = f" ({printable(one.display_name)})" if one.display_name else ""
    stored = _of(None) if limits.max_stored_bytes is None else told(limits.max_stored_bytes)
    gpu_time = f"{_hours(used.gpu_seconds_today)} of {_hours(limits.max_gpu_seconds_per_day)}"
    lines = [
        f"{one.name.removeprefix('tenants/')}{shown}, weight {one.weight:g}",
        f"  shots that wait or render  {used.queued_shots} of {_of(limits.max_queued_shots)}",
        f"  images and videos          {told(used.stored_bytes)} of {stored}",
        f"  GPU time within a day      {gpu_time}",
        f"  streams at a gateway       at most {_of(limits.max_streams)}",
        f"  requests a minute          at most {_of(limits.max_requests_per_minute)}",
    ]
    print("\n".join(lines))  # noqa: T201


def _row(one: Tenant) -> list[str]:
    from farm.store.room import told

    limits, used = one.limits, one.usage
    stored = _of(None) if limits.max_stored_bytes is None else told(limits.max_stored_bytes)
    return [
        one.name.removeprefix("tenants/"),
        f"{one.weight:g}",
        f"{used.queued_shots}/{_of(limits.max_queued_shots)}",
        f"{told(used.stored_bytes)}/{stored}",
        f"{_hours(used.gpu_seconds_today)}/{_hours(limits.max_gpu_seconds_per_day)}",
    ]


def _of(limit: int | None) -> str:
    return "any" if limit is None else str(limit)


def _hours(seconds: float | None) -> str:
    return _of(None) if seconds is None else f"{seconds / 3600:.3g} h"
