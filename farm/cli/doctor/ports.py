"""Whether an address of this machine is free for a farm, and what answers there if not."""

from __future__ import annotations

import enum
import errno
import http.client
import socket
import ssl

from farm.cli.doctor.check import Check, fail, ok, warn
from farm.cli.doctor.listening import holder
from farm.gateway.config import Address, ConfigInvalid
from svdfarm.target import PLAIN, SECURE

_TIMEOUT_S = 3.0
_BODY_BYTES = 4096


class Bound(enum.Enum):
    """What came of binding an address."""

    FREE = enum.auto()
    TAKEN = enum.auto()
    FORBIDDEN = enum.auto()
    ELSEWHERE = enum.auto()  # of another machine, or of none that is known


def probe_port(address: Address) -> Bound:
    """Binds the address for a moment, as a gateway would, without listening on it."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except OSError:
        return Bound.ELSEWHERE
    family, kind, protocol, _, target = found[0]
    with socket.socket(family, kind, protocol) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(target)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                return Bound.TAKEN
            return Bound.FORBIDDEN if error.errno == errno.EACCES else Bound.ELSEWHERE
    return Bound.FREE


def get(host: str, port: int, path: str, *, secure: bool = False) -> tuple[int, str] | None:
    """Status and the beginning of the body that HTTP answers; None where it does not answer.

    `secure` is TLS with whoever is there: nothing is sent that others may not see.
    """
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
    if secure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(_BODY_BYTES).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


def unbindable(name: str, address: Address, bound: Bound, flag: str) -> Check:
    """The check of an address that a farm cannot have."""
    other = Address(address.host, address.port + 1 if address.port < 65535 else 0)
    advice = f"Stop that, or give the farm another port, such as {flag} {other}."
    match bound:
        case Bound.TAKEN:
            who = holder(address.port) or "another program"
            return fail(name, f"{address} is held by {who}, and no farm answers", advice)
        case Bound.FORBIDDEN:
            advice = f"Ports below 1024 take root: give another one with {flag}."
            return fail(name, f"{address} may not be bound: permission denied", advice)
        case _:
            advice = f"Give {flag} an address of this machine."
            return fail(name, f"{address} is no address of this machine", advice)


def check_http(text: str, gateway: str) -> list[Check]:
    """The check of the address where the gateway serves HTTP; none for another machine's farm."""
    try:
        dialled = gateway.removeprefix(SECURE).removeprefix(PLAIN)
        if probe_port(Address.parse(dialled)) is Bound.ELSEWHERE:
            return []
    except ConfigInvalid:
        pass  # told by the check of the gateway
    try:
        address = Address.parse(text)
    except ConfigInvalid as error:
        return [fail("http", str(error), "Correct --http, FARM_HTTP or farm.toml.")]
    bound = probe_port(address)
    if bound is not Bound.TAKEN:
        return [judge_http(address, bound, None)]
    answer = get(address.host, address.port, "/healthz")
    if answer is None and (over_tls := get(address.host, address.port, "/healthz", secure=True)):
        return [judge_http(address, bound, over_tls, tls=True)]
    return [judge_http(address, bound, answer)]


def judge_http(
    address: Address, bound: Bound, answer: tuple[int, str] | None, *, tls: bool = False
) -> Check:
    """Is it free, or a farm's? `answer` is that of /healthz."""
    over = ", with TLS" if tls else ""
    match bound, answer:
        case Bound.FREE, _:
            return ok("http", f"{address} is free")
        case _, (200, "ok\n"):
            return ok("http", f"{address} answers /healthz{over}: ok")
        case _, (503, "stopping\n"):
            return warn("http", f"{address} answers /healthz: stopping", "Wait until it has ended.")
        case _:
            return unbindable("http", address, bound, "--http")
