"""A farm's address, and how it is spoken to."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

import grpc
import grpc.aio

from svdfarm.errors import Rejected
from svdfarm.tls import Tls

SECURE = "grpcs://"
PLAIN = "grpc://"

# Where a name has several addresses, those of several gateways, each caller takes one of them by
# lot, and another one when that is gone: gRPC's own order would lead everybody to the first.
_ANY_ADDRESS = (
    "grpc.service_config",
    '{"loadBalancingConfig": [{"pick_first": {"shuffleAddressList": true}}]}',
)


@dataclass(frozen=True)
class Target:
    """Where a farm is; made by `read`."""

    host: str  # empty where it is a socket of this machine's
    port: int
    address: str  # as gRPC takes it
    secure: bool
    tls: Tls

    @classmethod
    def read(
        cls, text: str, token: str | None = None, tls: Tls | None = None, *, plaintext: bool = False
    ) -> Target:
        """Reads grpcs://HOST:PORT, which is TLS, and grpc://HOST:PORT or HOST:PORT, which is not.

        HOST may have several addresses; gRPC's own `ipv4:IP:PORT,IP:PORT` stands for HOST:PORT.
        Raises Rejected: for an address that is none, for files of TLS that cannot be used, and
        for a token that others could read on its way, unless `plaintext` says that they cannot.
        """
        secure = text.startswith(SECURE)
        address = text.removeprefix(SECURE).removeprefix(PLAIN)
        host, colon, port = address.rpartition(":")
        numbered = bool(
            colon and host and port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 65536
        )
        unix = address == text and text.startswith("unix:")
        if "," in host and not host.startswith(("ipv4:", "ipv6:")):
            raise Rejected(
                f"address is {text!r}, which names several hosts: give the farm's gateways one "
                "name that has all of their addresses, or write ipv4:IP:PORT,IP:PORT"
            )
        if "/" in host or not (numbered or unix):
            allowed = "HOST:PORT, such as 127.0.0.1:50051, or grpcs://HOST:PORT"
            raise Rejected(f"address is {text!r}; allowed: {allowed}")
        tls = tls or Tls()
        target = cls(
            "" if unix else host.strip("[]"), int(port) if numbered else 0, address, secure, tls
        )
        if secure:
            tls.context()
        elif tls.is_given:
            raise Rejected(
                f"{text} is no address for TLS, and tls_ca or another such file is given: write "
                f"grpcs://{address}, or leave the files out"
            )
        elif token and not (target.is_local or plaintext):
            raise Rejected(
                f"the token is not sent to {address}: others could read it on its way. Write "
                f"grpcs://{address} for a farm with TLS, or say that the network itself is safe, "
                "with plaintext or FARM_PLAINTEXT=true"
            )
        return target

    @property
    def is_local(self) -> bool:
        """Whether no network lies between."""
        if self.host in ("", "localhost"):
            return True
        try:
            host = ipaddress.ip_address(self.host)
        except ValueError:
            return False
        return host.is_loopback or host.is_unspecified  # which is dialled as this machine

    def channel(self, options: Sequence[tuple[str, int]]) -> grpc.Channel:
        """A channel that blocks. Raises Rejected where files of TLS have become unusable."""
        if not self.secure:
            return grpc.insecure_channel(self.address, options=self._with_own(options))
        return grpc.secure_channel(self.address, self.tls.credentials(), self._with_own(options))

    def aio_channel(self, options: Sequence[tuple[str, int]]) -> grpc.aio.Channel:
        """The same for an event loop."""
        own = self._with_own(options)
        if not self.secure:
            return grpc.aio.insecure_channel(self.address, options=own)
        return grpc.aio.secure_channel(self.address, self.tls.credentials(), own)

    def _with_own(self, options: Sequence[tuple[str, int]]) -> list[tuple[str, int | str]]:
        name = self.tls.server_name
        named = [("grpc.ssl_target_name_override", name)] if name else []
        return [*options, _ANY_ADDRESS, *named]

    def __str__(self) -> str:
        return f"{SECURE}{self.address}" if self.secure else self.address
