"""The command's way to the farm: the SDK's client, its errors as messages and exit codes."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from farm.cli.exits import CommandFailed, Exit
from farm.settings import DEFAULT_ADDRESS, Flags, Settings
from svdfarm import Client, errors

# How long a question that costs nothing to ask again tries a farm that is away.
SHORT_CONNECT_TIMEOUT_S = 3.0
CONNECT_TIMEOUT_S = 20.0


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
    with told_to_the_user():
        farm = Client(
            settings.get("address", address or flags.address, DEFAULT_ADDRESS),
            settings.find("token", token or flags.token),
            connect_timeout_s=settings.get(
                "connect_timeout", connect_timeout_s, default_connect_timeout_s
            ),
            on_waiting=_say_waiting,
        )
        with farm:
            yield farm


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
