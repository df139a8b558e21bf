"""The options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from farm.cli import completing

DEFAULT_FOLDER = "out"  # where a job's videos go

Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help="The farm's address; grpcs://HOST:PORT with TLS.  "
        "[FARM_ADDRESS; default: 127.0.0.1:50051]",
        show_default=False,
    ),
]
Token = Annotated[
    str | None,
    typer.Option(
        metavar="TOKEN",
        help="The farm's token; better in FARM_TOKEN, as other users see command lines.",
        show_default=False,
    ),
]
ConnectTimeout = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        min=0,
        help="How long to try a farm that is away.  [default: 20 for watch, submit, download and "
        "promote, else 3]",
        show_default=False,
    ),
]
Timeout = Annotated[
    float | None,
    typer.Option(
        metavar="S",
        min=0,
        help="Stop waiting after this time; the job goes on.",
        show_default=False,
    ),
]
Shots = Annotated[
    list[str] | None,
    typer.Option(
        "--shot",
        metavar="N,...",
        help="Only these: numbers from 1, ranges such as 3-5 or names; may be repeated.",
        show_default=False,
    ),
]
ShowPreviews = Annotated[
    bool,
    typer.Option(
        "--previews", help="Show rough pictures of the clips that render; with --json in base64."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that are there with other bytes.")
]
Receipts = Annotated[
    bool, typer.Option("--receipts", help="Save each video's receipt beside it, as NAME.json.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", "-o", metavar="DIR", help="Where the videos go.", show_default=False),
]
JobName = Annotated[
    str,
    typer.Argument(metavar="JOB", help="jobs/ID, or only the ID.", autocompletion=completing.jobs),
]
JobNames = Annotated[
    list[str],
    typer.Argument(
        metavar="JOB...", help="jobs/ID, or only the ID.", autocompletion=completing.jobs
    ),
]
WebhookSecret = Annotated[
    str | None,
    typer.Option(
        "--webhook-secret",
        metavar="whsec_...",
        help="Signs what jobs' webhooks are told; better in FARM_WEBHOOK_SECRET, as other users "
        "see command lines.  [default: no job may have a webhook]",
        show_default=False,
    ),
]
WebhookPrivate = Annotated[
    bool | None,
    typer.Option(
        "--webhook-private/--no-webhook-private",
        help="Webhooks may be at this network's own addresses, and without https.  "
        "[FARM_WEBHOOK_PRIVATE; default: only at public ones]",
        show_default=False,
    ),
]
