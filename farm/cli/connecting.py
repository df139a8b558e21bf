"""The command's way to the farm: the SDK's client, its errors as messages and exit codes."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import TypedDict

import typer

from farm import __version__
from farm.cli.exits import CommandFailed, Exit
from farm.settings import DEFAULT_ADDRESS, Flags, Settings
from farm.tracing import configure_traces
from svdfarm import Client, errors
from svdfarm.tls import Tls

# How long a question that costs nothing to ask again tries a farm that is away.
SHORT_CONNECT_TIMEOUT_S = 3.0
CONNECT_TIMEOUT_S = 20.0


class Secured(TypedDict):
    """Arguments of Client."""

    tls_ca: str | PathLike[str] | bytes | None
    tls_cert: str | PathLike[str] | None
    tls_key: str | PathLike[str] | None
    tls_server_name: str | None
    plaintext: bool


@contextmanager
def client(
    ctx: typer.Context,
    address: str | None,
    token: str | None,
    connect_timeout_s: float | None,
    *,
    default_connect_timeout_s: float = SHORT_CONNECT_TIMEOUT_S,
) -> Iterator[Client]:
    """A client of the farm that flags, variables or farm.toml name.

    Raises CommandFailed for every error of the SDK that is not handled inside.
    """
    flags = ctx.obj if isinstance(ctx.obj, Flags) else Flags()
    settings = Settings.load()
    if problem := configure_traces("svdfarm-cli", __version__):
        print(problem, file=sys.stderr)  # noqa: T201
    with told_to_the_user():
        farm_address = settings.get("address", address or flags.address, DEFAULT_ADDRESS)
        farm = Client(
            farm_address,
            settings.find("token", token or flags.token),
            connect_timeout_s=settings.get(
                "connect_timeout", connect_timeout_s, default_connect_timeout_s
            ),
            on_waiting=_say_waiting,
            **secured(settings, farm_address, flags),
        )
        with farm:
            yield farm


def secured(settings: Settings, address: str, flags: Flags | None = None) -> Secured:
    """What a Client of the farm at `address` is told about TLS."""
    flags = flags or Flags()
    plaintext = settings.get("plaintext", flags.plaintext, False)
    return as_arguments(settings.tls_for(address, flags.tls_ca), plaintext=plaintext)


def as_arguments(tls: Tls | None, *, plaintext: bool) -> Secured:
    """The same, of a Client."""
    tls = tls or Tls()
    return {
        "tls_ca": tls.ca,
        "tls_cert": tls.cert,
        "tls_key": tls.key,
        "tls_server_name": tls.server_name,
        "plaintext": plaintext,
    }


@contextmanager
def told_to_the_user() -> Iterator[None]:
    """Turns errors of the SDK into CommandFailed."""
    try:
        yield
    except errors.Unreachable as error:
        raise CommandFailed(unreachable(error), Exit.UNREACHABLE) from error
    except errors.DeadlineExceeded as error:
        raise CommandFailed(str(error), Exit.TIMED_OUT) from error
    except errors.SvdfarmError as error:
        raise CommandFailed(str(error)) from error


def unreachable(error: errors.Unreachable) -> str:
    """What to do where no farm answers."""
    return f"{error}; start one with `farm up`, or name another with --address or FARM_ADDRESS"


def _say_waiting(reason: str, limit_s: float) -> None:
    if sys.stderr.isatty():
        limit = f"trying for {limit_s:g} s" if math.isfinite(limit_s) else "waiting until then"
        print(f"{reason}; {limit}", file=sys.stderr)  # noqa: T201
