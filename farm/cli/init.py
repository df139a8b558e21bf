"""`farm init`: a commented jobs.yaml to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from farm.cli.exits import CommandFailed, Exit


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(init)


def init(
    path: Annotated[Path, typer.Argument(metavar="[PATH]", help="The file to write.")] = Path(
        "jobs.yaml"
    ),
) -> int:
    """Write a commented jobs.yaml."""
    from farm.cli.jobs_file.template import TEMPLATE

    target = path / "jobs.yaml" if path.is_dir() else path
    try:
        with target.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError:
        raise CommandFailed(f"{target} is there already; it is not overwritten") from None
    print(f"wrote {target}; put your images in, then: farm submit {target}")  # noqa: T201
    return Exit.SUCCEEDED
