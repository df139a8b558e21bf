"""`farm token create`, `list`, `revoke`, `show`: who may call this farm."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.durations import read_duration_s
from farm.cli.exits import CommandFailed, Exit
from farm.cli.options import Address, AsJson, ConnectTimeout, Token
from farm.cli.server_options import Data, Database

if TYPE_CHECKING:
    import svdfarm

token = typer.Typer(
    name="token",
    help="Make, list and revoke the tokens with which others may call this farm.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

Scopes = Annotated[
    list[str],
    typer.Option(
        "--scope",
        metavar="render|operate|work|metrics",
        help="What it is good for; may be repeated.",
        show_default=False,
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(token)


@token.command()
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose it is, for people.")],
    scope: Scopes,
    tenant: Annotated[
        str, typer.Option(metavar="TENANT", help="Whose jobs it is for.")
    ] = "default",
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="AGE", help="Such as 90d or 12h.  [default: never]", show_default=False
        ),
    ] = None,
    offline: Annotated[
        bool,
        typer.Option(
            "--offline", help="Without a gateway: straight into its database, before its start."
        ),
    ] = False,
    data: Data = None,
    database: Database = None,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Make a token. It alone is printed on stdout, this once: the farm keeps only a hash."""
    from farm.cli import as_json as json_lines
    from farm.cli import connecting

    if not tenant:
        raise CommandFailed(
            "--tenant is ''; allowed: a tenant's name, as farm tenant list shows it"
        )
    ttl_s = read_duration_s(expires, "--expires") if expires is not None else None
    if offline:
        from farm.cli.offline import create_token

        made = create_token(name, scope, tenant, ttl_s, data, database)
    else:
        if data is not None or database is not None:
            raise CommandFailed("--data and --database are for --offline: a gateway has its own")
        age = None if ttl_s is None else timedelta(seconds=ttl_s)
        with connecting.client(ctx, address, token, connect_timeout) as client:
            made = client.create_token(name, scope, tenant=tenant, expires_in=age)
    if as_json:
        print(json_lines.line({**json_lines.token(made.token), "text": made.text}))  # noqa: T201
        return Exit.SUCCEEDED
    print(made.text)  # noqa: T201
    kept = made.token
    scopes, ends = ", ".join(kept.scopes), _told(kept.expire_time, "never")
    print(  # noqa: T201
        f"{kept.name} of tenant {kept.tenant}, scopes {scopes}, expires {ends}. Keep the line "
        "above: it cannot be shown again",
        file=sys.stderr,
    )
    return Exit.SUCCEEDED


@token.command("list")
def list_tokens(
    ctx: typer.Context,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """List the tokens, the oldest first; nobody can see their secrets."""
    from farm.cli import as_json as json_lines
    from farm.cli import connecting, tables

    with connecting.client(ctx, address, token, connect_timeout) as client:
        found = list(client.tokens())
    if as_json:
        for one in found:
            print(json_lines.line(json_lines.token(one)))  # noqa: T201
    elif found:
        heads = ["TOKEN", "NAME", "STATE", "TENANT", "SCOPES", "EXPIRES", "USED"]
        tables.show(heads, [_row(one) for one in found])
    else:
        print("this farm has no tokens", file=sys.stderr)  # noqa: T201
    return Exit.SUCCEEDED


@token.command()
def revoke(
    ctx: typer.Context,
    tokens: Annotated[
        list[str],
        typer.Argument(
            metavar="TOKEN...", help="As `farm token list` shows it, or the whole token."
        ),
    ],
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Make tokens good for nothing; calls that go on with them end within a minute."""
    from farm.cli import as_json as json_lines
    from farm.cli import connecting
    from farm.cli.tables import printable
    from svdfarm import errors

    code = Exit.SUCCEEDED
    with connecting.client(ctx, address, token, connect_timeout) as client:
        for name in tokens:
            try:
                revoked = client.revoke_token(name)
            except (errors.Rejected, errors.NotFound) as error:
                code = Exit.REFUSED
                print("error:", printable(str(error)), file=sys.stderr)  # noqa: T201
                continue
            if as_json:
                print(json_lines.line(json_lines.token(revoked)))  # noqa: T201
            else:
                print(f"{revoked.name} revoked")  # noqa: T201
    return code


@token.command()
def show(
    ctx: typer.Context,
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Show who you are to the farm, with the token that you give it."""
    from farm.cli import as_json as json_lines
    from farm.cli import connecting
    from farm.cli.tables import printable

    with connecting.client(ctx, address, token, connect_timeout) as client:
        who = client.whoami()
    if as_json:
        print(json_lines.line(json_lines.identity(who)))  # noqa: T201
        return Exit.SUCCEEDED
    shown = "no token of the farm's table"
    if who.token is not None:
        ends = _told(who.token.expire_time, "never")
        shown = f"{who.token.name} ({printable(who.token.display_name)}), expires {ends}"
    print(f"{shown}; tenant {who.tenant}, scopes {', '.join(who.scopes)}")  # noqa: T201
    return Exit.SUCCEEDED


def _row(one: svdfarm.Token) -> list[str]:
    return [
        one.name.removeprefix("tokens/"),
        one.display_name,
        _state(one),
        one.tenant,
        ", ".join(one.scopes),
        _told(one.expire_time, "never"),
        _told(one.use_time, "never"),
    ]


def _state(one: svdfarm.Token) -> str:
    if one.revoke_time is not None:
        return "revoked"
    expired = one.expire_time is not None and one.expire_time <= datetime.now(UTC)
    return "expired" if expired else "good"


def _told(time: datetime | None, none: str) -> str:
    return none if time is None else f"{time.astimezone():%Y-%m-%d %H:%M}"
