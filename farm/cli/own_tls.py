"""The TLS between the programs of `farm up`, which are all on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from farm.cli.exits import CommandFailed
from farm.gateway.config import ConfigInvalid
from farm.gateway.tls_files import TlsFiles, load
from svdfarm.tls import Tls


def own_tls(gateway: TlsFiles | None, given: Tls | None) -> Tls | None:
    """What this farm's workers trust and show; None without TLS. Raises CommandFailed.

    Without a CA they trust exactly the gateway's certificate, whatever hosts it is for: its file
    lies on this machine.
    """
    if gateway is None:
        return None
    try:
        names = load(gateway).names
    except ConfigInvalid as error:
        raise CommandFailed(str(error)) from error
    given = given or Tls()
    if gateway.client_ca is not None and not (given.cert and given.key):
        raise CommandFailed(
            f"--tls-client-ca {gateway.client_ca} asks this farm's own workers for a certificate: "
            "give them one with FARM_TLS_CLIENT_CERT and FARM_TLS_CLIENT_KEY"
        )
    name = names[0].replace("*", "farm") if names else None
    return replace(
        given,
        ca=given.ca or gateway.cert.absolute(),
        server_name=given.server_name or name,
    )


def gateway_arguments(tls: TlsFiles | None) -> list[str]:
    """Of `farm gateway`."""
    if tls is None:
        return []
    arguments = ["--tls-cert", str(tls.cert), "--tls-key", str(tls.key)]
    return arguments + (["--tls-client-ca", str(tls.client_ca)] if tls.client_ca else [])


def environment(tls: Tls | None) -> Mapping[str, str | None]:
    """Of `farm worker`, by the names that settings read."""
    if tls is None:
        return {}
    return {
        "FARM_TLS_CA": _path(tls.ca),
        "FARM_TLS_CLIENT_CERT": _path(tls.cert),
        "FARM_TLS_CLIENT_KEY": _path(tls.key),
        "FARM_TLS_SERVER_NAME": tls.server_name,
    }


def _path(given: str | os.PathLike[str] | bytes | None) -> str | None:
    return None if given is None else os.fsdecode(given)
