"""Why a connection does not come about, where TLS is the reason: one handshake of our own tells.

gRPC knows it too, but says it in words of its TLS library, or not at all.
"""

from __future__ import annotations

import socket
import ssl

from svdfarm.target import Target

_TIMEOUT_S = 2.0


def problem(target: Target) -> str:
    """What is to be changed; empty where TLS is not what is wrong. Takes some seconds at most."""
    if not target.host:
        return ""
    ask = _secure_problem if target.secure else _plain_problem
    found = ""
    try:
        for _ in range(2):  # a farm that just stops looks like one that refuses, but only once
            with socket.create_connection((target.host, target.port), _TIMEOUT_S) as sock:
                found = ask(target, sock)
            if not found:
                break
    except OSError:  # nobody listens, or nobody answers: gRPC says that well enough
        return ""
    return found


def _secure_problem(target: Target, sock: socket.socket) -> str:
    name = target.tls.server_name or target.host
    context = target.tls.context()
    try:
        with context.wrap_socket(sock, server_hostname=name) as secured:
            if secured.selected_alpn_protocol() != "h2":
                return f"{target} speaks TLS and no gRPC: is it another program, or its HTTP port?"
            if _hung_up(secured):
                return _unknown_caller(target)
    except ssl.SSLCertVerificationError as error:
        return _unverified(target, name, error)
    except ssl.SSLError as error:
        return _broken(target, error)
    return ""


def _unverified(target: Target, name: str, error: ssl.SSLCertVerificationError) -> str:
    reason = error.verify_message
    if "ostname mismatch" in reason or "address mismatch" in reason:
        return (
            f"the certificate of {target} is not for {name}: dial one of the names that it is "
            "for, or give that as tls_server_name or FARM_TLS_SERVER_NAME"
        )
    if "expired" in reason or "not yet valid" in reason:
        return f"the certificate of {target} cannot be trusted: {reason}; its farm must renew it"
    return (
        f"the certificate of {target} is not trusted ({reason}): give the CA that signed it, as "
        "tls_ca or FARM_TLS_CA"
    )


def _broken(target: Target, error: ssl.SSLError) -> str:
    reason = error.reason or str(error)
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"):
        return f"{target} speaks no TLS: dial {target.address} where the network is safe"
    if "CERTIFICATE" in reason or "UNKNOWN_CA" in reason:
        return _unknown_caller(target)
    return f"no TLS connection to {target} comes about: {reason.replace('_', ' ').lower()}"


def _hung_up(secured: ssl.SSLSocket) -> bool:
    """Whether the other side, with the handshake done, goes instead of beginning to speak.

    So gRPC refuses a client's certificate with TLS 1.3: without an alert.
    """
    try:
        return not secured.recv(1)
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def _unknown_caller(target: Target) -> str:
    shown = "another client certificate" if target.tls.cert else "a client certificate"
    return (
        f"{target} wants {shown}: give one that its operator signed, as tls_cert and tls_key or "
        "FARM_TLS_CLIENT_CERT and FARM_TLS_CLIENT_KEY"
    )


def _plain_problem(target: Target, sock: socket.socket) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is sent: this only asks whether TLS is spoken
    try:
        with context.wrap_socket(sock):
            pass
    except ssl.SSLError:
        return ""
    return f"the farm at {target} speaks TLS: dial grpcs://{target.address}"
