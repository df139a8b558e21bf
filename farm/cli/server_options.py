"""What the verbs that run programs take: `up`, `gateway`, `worker`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from farm.settings import DEFAULT_ADDRESS

DEFAULT_HTTP = "127.0.0.1:8080"

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DIR",
        help="Where jobs and videos are kept.  [default: ~/.local/share/svdfarm]",
        show_default=False,
    ),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database",
        metavar="URL",
        help="A PostgreSQL, which gateways may share; better in FARM_DATABASE, as other users see "
        "command lines.  [default: a SQLite file in --data]",
        show_default=False,
    ),
]
Artifacts = Annotated[
    str | None,
    typer.Option(
        "--artifacts",
        metavar="s3://BUCKET/PREFIX",
        help="Where images and videos are kept; keys and endpoint in AWS_ACCESS_KEY_ID, "
        "AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL.  [FARM_ARTIFACTS; default: a folder in --data]",
        show_default=False,
    ),
]
DirectUpload = Annotated[
    bool | None,
    typer.Option(
        "--direct-upload/--no-direct-upload",
        help="Workers put videos into the bucket of --artifacts themselves, with links that the "
        "gateway signs.  [FARM_DIRECT_UPLOAD; default: over the gateway]",
        show_default=False,
    ),
]
Retention = Annotated[
    str | None,
    typer.Option(
        "--retention",
        metavar="AGE",
        help="Delete jobs that ended longer ago, such as 30d.  [default: keep them for ever]",
        show_default=False,
    ),
]
BindAddress = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help=f"Where users come to, over gRPC.  [FARM_ADDRESS; default: {DEFAULT_ADDRESS}]",
        show_default=False,
    ),
]
Http = Annotated[
    str | None,
    typer.Option(
        "--http",
        metavar="HOST:PORT",
        help=f"Where HTTP is served.  [default: {DEFAULT_HTTP}]",
        show_default=False,
    ),
]
OpenMetrics = Annotated[
    bool | None,
    typer.Option(
        "--open-metrics/--no-open-metrics",
        help="/metrics is for everybody; else, where tokens are in force, for one with scope "
        "metrics or operate.  [FARM_OPEN_METRICS]",
        show_default=False,
    ),
]
PublicUrl = Annotated[
    str | None,
    typer.Option(
        "--public-url",
        metavar="URL",
        help="Where browsers find the page behind a reverse proxy, such as https://farm.example.  "
        "[FARM_PUBLIC_URL]",
        show_default=False,
    ),
]
TrustedProxies = Annotated[
    str | None,
    typer.Option(
        "--trusted-proxies",
        metavar="ADDRESSES",
        help="Reverse proxies whose X-Forwarded-For is believed, such as 127.0.0.1,10.0.0.5.  "
        "[FARM_TRUSTED_PROXIES; default: none]",
        show_default=False,
    ),
]
WorkerAddress = Annotated[
    str | None,
    typer.Option(
        "--worker-address",
        metavar="HOST:PORT",
        help="A port of their own for workers; required off loopback.",
        show_default=False,
    ),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="NAME|PATH",
        help="svd, svd-xt, nano, tiny or a folder.  [FARM_MODEL; default: svd-xt on GPUs, or nano]",
        show_default=False,
    ),
]
WorkerCount = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="[default: one a GPU, two on a CPU]", show_default=False),
]
Device = Annotated[str, typer.Option("--device", metavar="auto|cpu|cuda")]
Engine = Annotated[str, typer.Option("--engine", metavar="default|compiled|stock")]
Dtype = Annotated[
    str | None,
    typer.Option("--dtype", metavar="float32|float16|bfloat16", show_default=False),
]
ModelOffload = Annotated[
    bool, typer.Option("--model-offload", help="Keep each part of the model on the CPU until used.")
]
Memory = Annotated[
    str,
    typer.Option(
        "--memory",
        metavar="auto|fast|balanced|low",
        help="What the GPU's memory is for; auto: by what is free.",
    ),
]
Deterministic = Annotated[
    bool,
    typer.Option("--deterministic", help="The same receipt gives the same bits here; slower."),
]
ForwardChunking = Annotated[
    bool, typer.Option("--forward-chunking", help="Feed-forward layers in chunks: less memory.")
]
StopOnEof = Annotated[bool, typer.Option("--stop-on-eof", hidden=True)]
