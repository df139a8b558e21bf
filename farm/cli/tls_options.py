"""The options of TLS, and what they and the settings come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from farm.cli.exits import CommandFailed
from farm.settings import Settings

if TYPE_CHECKING:
    from farm.gateway.tls_files import TlsFiles

TlsCert = Annotated[
    str | None,
    typer.Option(
        "--tls-cert",
        metavar="FILE",
        help="The gateway's certificate and those that lead to its CA, in PEM; read again when it "
        "changes.  [FARM_TLS_CERT; default: no TLS]",
        show_default=False,
    ),
]
TlsKey = Annotated[
    str | None,
    typer.Option(
        "--tls-key",
        metavar="FILE",
        help="The key of --tls-cert, in PEM.  [FARM_TLS_KEY]",
        show_default=False,
    ),
]
TlsClientCa = Annotated[
    str | None,
    typer.Option(
        "--tls-client-ca",
        metavar="FILE",
        help="Whoever comes over gRPC must show a certificate that this CA signed.  "
        "[FARM_TLS_CLIENT_CA; default: nobody must show one]",
        show_default=False,
    ),
]
TlsCa = Annotated[
    str | None,
    typer.Option(
        "--tls-ca",
        metavar="FILE",
        help="The CA of the farm's certificate, in PEM, for addresses grpcs://.  "
        "[FARM_TLS_CA; default: the CAs that gRPC knows]",
        show_default=False,
    ),
]
Plaintext = Annotated[
    bool | None,
    typer.Option(
        "--plaintext/--no-plaintext",
        help="Speak without TLS to other machines, tokens included: the network itself is safe.  "
        "[FARM_PLAINTEXT; default: only on this machine]",
        show_default=False,
    ),
]


def first(verb: bool | None, before_verb: bool | None) -> bool | None:
    """The switch as it stands nearest to the verb."""
    return before_verb if verb is None else verb


def server_tls(
    settings: Settings, cert: str | None, key: str | None, client_ca: str | None
) -> TlsFiles | None:
    """The gateway's own files. Raises CommandFailed."""
    from farm.gateway.config import ConfigInvalid
    from farm.gateway.tls_files import TlsFiles

    try:
        return TlsFiles.named(
            settings.find("tls_cert", cert),
            settings.find("tls_key", key),
            settings.find("tls_client_ca", client_ca),
        )
    except ConfigInvalid as error:
        raise CommandFailed(str(error)) from error
