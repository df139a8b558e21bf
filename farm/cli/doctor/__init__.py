"""`farm doctor`: checks this machine and this farm, and says what to do.

Each check has a part that looks (`probe_...`, `ask`) and a part that judges what was seen, so that
the judging can be tried without the hardware.
"""

from __future__ import annotations

import typer

from farm.cli.options import Address, AsJson, Token
from farm.cli.server import check_choice, data_folder
from farm.cli.server_options import DEFAULT_HTTP, Data, Device, Http, Model
from farm.settings import DEFAULT_ADDRESS, Flags, Settings, hub_token_set


def register(app: typer.Typer) -> None:
    """Adds the verb."""
    app.command()(doctor)


def doctor(
    ctx: typer.Context,
    http: Http = None,
    data: Data = None,
    model: Model = None,
    device: Device = "auto",
    as_json: AsJson = False,
    address: Address = None,
    token: Token = None,
) -> int:
    """Check this machine and this farm, and say what to do.

    The flags are those of `farm up`. Exit code 1 where a check failed, else 0.
    """
    from farm.cli.doctor import examine, report

    settings = Settings.load()
    flags = ctx.obj if isinstance(ctx.obj, Flags) else Flags()
    device = settings.get("device", None if device == "auto" else device, "auto")
    check_choice("--device", device, ("auto", "cpu", "cuda"))
    wanted = examine.Wanted(
        address=settings.get("address", address or flags.address, DEFAULT_ADDRESS),
        token=settings.find("token", token or flags.token),
        http=settings.get("http", http, DEFAULT_HTTP),
        data=data_folder(settings, data),
        model=settings.find("model", model),
        device=device,
        hub_token_set=hub_token_set(),
    )
    return report.show(examine.examine(wanted), as_json=as_json)
