"""The `farm` command put together: its verbs, and how errors become messages and exit codes."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import farm
from farm.cli import (
    backup,
    changing,
    doctor,
    history,
    init,
    jobs,
    ladder,
    leaving,
    model,
    prune,
    receipts,
    render,
    server,
    submit,
    tenants,
    tokens,
    workers,
)
from farm.cli.exits import CommandFailed, Exit
from farm.cli.interrupts import insistent_interrupt
from farm.cli.options import Address, Token
from farm.cli.tables import printable
from farm.cli.tls_options import Plaintext, TlsCa
from farm.settings import Flags, SettingsInvalid

# What the [server] extra brings, by the name that is imported.
_SERVER_PACKAGES = frozenset(
    {
        "accelerate",
        "alembic",
        "diffusers",
        "grpc_health",
        "grpc_reflection",
        "huggingface_hub",
        "imageio_ffmpeg",
        "numpy",
        "obstore",
        "packaging",
        "PIL",
        "psutil",
        "ray",
        "safetensors",
        "sqlalchemy",
        "starlette",
        "structlog",
        "torch",
        "transformers",
        "uvicorn",
    }
)

app = typer.Typer(
    name="farm",
    no_args_is_help=True,
    # Help without rich: fast, and never coloured into a pipe.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"svdfarm {farm.__version__}")  # noqa: T201
        raise typer.Exit


@app.callback()
def _farm(
    ctx: typer.Context,
    address: Address = None,
    token: Token = None,
    tls_ca: TlsCa = None,
    plaintext: Plaintext = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """A render farm for Stable Video Diffusion: images in, videos out.

    Settings come from flags, then FARM_* variables, then farm.toml in this folder.

    Exit codes: 0 succeeded, 1 usage or refused, 2 some shots failed or a video differs,
    3 cancelled, 4 timed out, 5 no farm answers.
    """
    ctx.obj = Flags(address, token, tls_ca, plaintext)


for _verbs in (
    submit,
    jobs,
    ladder,
    history,
    changing,
    prune,
    backup,
    workers,
    tenants,
    tokens,
    leaving,
    render,
    receipts,
    model,
    init,
    doctor,
    server,
):
    _verbs.register(app)


def run(args: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit code. A user's mistake never shows a traceback."""
    try:
        with insistent_interrupt():
            code: Any = app(args, prog_name="farm", standalone_mode=False)
        sys.stdout.flush()
    except CommandFailed as error:
        return _fail(str(error), error.code)
    except typer.TyperException as error:  # usage: its own code is 2, which means failed shots
        hint = getattr(error, "ctx", None)
        more = f"\nsee {hint.command_path} --help" if hint else ""
        return _fail(error.format_message() + more)
    except typer.Abort:
        return Exit.INTERRUPTED
    except SettingsInvalid as error:
        return _fail(str(error))
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _SERVER_PACKAGES:
            raise
        return _fail('this needs the server packages: pip install "svdfarm[server]"')
    except BrokenPipeError:  # the reader of the pipe has gone: nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.REFUSED
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        if error.filename is None:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise
            # Of the output itself: what Python would still write at its end fails as well.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return _fail(f"the output cannot be written: {why}")
        return _fail(f"{error.filename}: {why}")
    return code if isinstance(code, int) else Exit.SUCCEEDED


def _fail(message: str, code: Exit = Exit.REFUSED) -> int:
    # Messages quote files and servers: nothing in them may move the cursor.
    lines = [printable(line) for line in message.split("\n")]
    print("error:", "\n".join(lines), file=sys.stderr)  # noqa: T201
    return code
