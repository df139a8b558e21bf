"""`farm receipt` and `farm verify`: what a video was made from, and whether that makes it again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from farm.cli.exits import CommandFailed, Exit
from farm.cli.options import Address, AsJson, ConnectTimeout, Token


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.command()(receipt)
    app.command()(verify)


def receipt(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video of a farm.")],
) -> int:
    """Print what a video was made from, as JSON."""
    from farm.cli.sidecar import dump
    from farm.render.errors import VideoUnreadable
    from farm.render.receipt import read_receipt

    try:
        print(dump(read_receipt(video)), end="")  # noqa: T201
    except VideoUnreadable as error:
        raise CommandFailed(str(error)) from error
    return Exit.SUCCEEDED


def verify(
    ctx: typer.Context,
    videos: Annotated[
        list[Path], typer.Argument(metavar="VIDEO...", help="Videos with their receipts inside.")
    ],
    image: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The image it was made from.  [default: asked of the farm]",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="The model, where it was a local folder.  [default: the receipt's]",
            show_default=False,
        ),
    ] = None,
    device: Annotated[str, typer.Option(metavar="auto|cpu|cuda")] = "auto",
    as_json: AsJson = False,
    connect_timeout: ConnectTimeout = None,
    address: Address = None,
    token: Token = None,
) -> int:
    """Render videos again from their receipts, in this process, and compare.

    Exit codes: 0 all are identical, 2 one differs, 1 one could not be rendered again.
    """
    from farm.cli import connecting, verifying

    def fetch(sha256: str) -> bytes:
        with connecting.client(ctx, address, token, connect_timeout) as client:
            return client.image(sha256)

    return verifying.verify(videos, image, model, device=device, as_json=as_json, fetch=fetch)
