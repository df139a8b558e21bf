"""`farm model list` and `farm model pull`: the models that this machine has, or can have."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from farm.cli.exits import CommandFailed, Exit

model = typer.Typer(
    name="model",
    help="List the models that a worker here can serve, or fetch one before it is needed.",
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)

_DTYPES = ("float16", "float32")

Precision = Annotated[
    str,
    typer.Option("--dtype", metavar="float16|float32", help="GPUs take float16, CPUs float32."),
]


def register(app: typer.Typer) -> None:
    """Adds the verbs."""
    app.add_typer(model)


@model.command("list")
def list_models(dtype: Precision = "float16") -> int:
    """List the models that the farm knows by name, and whether they are here."""
    from farm.cli import tables
    from farm.jobs.params import KNOWN_MODELS, NOTES
    from farm.render import hub

    _check(dtype)
    rows = []
    for name, info in KNOWN_MODELS.items():
        where, note = "built in", NOTES.get(name, "")
        if name in hub.REPOSITORIES:
            folder = hub.cached(name, dtype, None)
            where = str(folder) if folder else f"farm model pull {name}"
            note = f"{hub.LICENCE}, {hub.REPOSITORIES[name]}"
        size = f"{info.frame_count} frames, {info.width_px}x{info.height_px}"
        rows.append([name, size, where, note])
    tables.show(["MODEL", "CLIPS", "HERE", "WHAT"], rows)
    return Exit.SUCCEEDED


@model.command()
def pull(
    name: Annotated[str, typer.Argument(metavar="MODEL", help="svd-xt or svd.")],
    dtype: Precision = "float16",
) -> int:
    """Fetch a model's files, 4.5 GB in float16, and check them; what is here stays."""
    from farm.render import hub
    from farm.render.errors import RenderError

    _check(dtype)
    if name not in hub.REPOSITORIES:
        allowed = ", ".join(hub.REPOSITORIES)
        raise CommandFailed(f"{name!r} is no model to fetch; allowed: {allowed}")
    there = hub.cached(name, dtype, None)
    if there is None:
        told = f"{hub.REPOSITORIES[name]} at {hub.REVISIONS[name][:12]}: {hub.LICENCE}"
        print(f"fetching {told}", file=sys.stderr)  # noqa: T201
    try:
        folder = hub.fetch(name, dtype, None)
        print("checking every file ...", file=sys.stderr)  # noqa: T201
        checked = hub.check_hashes(folder, dtype)
    except RenderError as error:
        raise CommandFailed(str(error)) from error
    told = f"{checked.whole_count} files, each as its hash says"
    if checked.unknown_count:
        told += f"; {checked.unknown_count} more cannot be checked: their names are no hashes"
    print(f"{folder}: {told}")  # noqa: T201
    return Exit.SUCCEEDED


def _check(dtype: str) -> None:
    if dtype not in _DTYPES:
        raise CommandFailed(f"--dtype is {dtype!r}; allowed: {', '.join(_DTYPES)}")
