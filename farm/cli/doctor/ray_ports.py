"""Ray's ports that run code for whoever reaches them (ShadowRay, CVE-2023-48022)."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

import grpc

from farm.cli.doctor.check import Check, fail, ok, warn
from farm.cli.doctor.listening import Listener, listeners
from farm.cli.doctor.ports import get

_TIMEOUT_S = 3.0
_CONTROL, _DASHBOARD, _CLIENT = 6379, 8265, 10001
WHAT: Mapping[int, str] = {
    _CONTROL: "Ray's control port",
    _DASHBOARD: "Ray's dashboard",
    _CLIENT: "Ray's client port",
}
# Methods that change nothing, and that Ray answers without a token where it wants none.
_METHODS: Mapping[int, str] = {
    _CONTROL: "/ray.rpc.NodeInfoGcsService/CheckAlive",
    _CLIENT: "/ray.rpc.RayletDriver/ClusterInfo",
}
_VERSION = "/api/version"  # of the dashboard
_CLOSE = "Start Ray with RAY_AUTH_MODE=token, and close the port to other machines"


class Answer(enum.Enum):
    """What a port says to a stranger."""

    OPEN = enum.auto()  # Ray answers
    GUARDED = enum.auto()  # Ray wants a token
    UNKNOWN = enum.auto()  # not Ray, or Ray behind TLS


def check_ray() -> list[Check]:
    """The check of Ray's ports."""
    found = [one for one in listeners() if one.port in WHAT and not one.is_loopback]
    return judge_ray([(one, ask(one)) for one in _once_a_port(found)])


def _once_a_port(found: Sequence[Listener]) -> list[Listener]:
    """The first of each port's, as IPv4 and IPv6 are often two."""
    first = {one.port: one for one in reversed(found)}
    return [first[port] for port in sorted(first)]


def ask(listener: Listener) -> Answer:
    """Asks, without a token, for what anybody may know."""
    host = "localhost" if listener.is_everywhere else listener.host
    if listener.port == _DASHBOARD:
        return judge_http(get(host, listener.port, _VERSION))
    return judge_grpc(_code(host, listener.port, _METHODS[listener.port]))


def judge_http(answer: tuple[int, str] | None) -> Answer:
    """What the dashboard's answer means."""
    match answer:
        case (401 | 403, _):
            return Answer.GUARDED
        case (200, body) if "ray_version" in body:
            return Answer.OPEN
        case _:
            return Answer.UNKNOWN


def judge_grpc(code: grpc.StatusCode) -> Answer:
    """What the code of a gRPC port means. Ray's client port answers strangers with NOT_FOUND."""
    match code:
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.PERMISSION_DENIED:
            return Answer.GUARDED
        case grpc.StatusCode.OK | grpc.StatusCode.NOT_FOUND:
            return Answer.OPEN
        case _:
            return Answer.UNKNOWN


def _code(host: str, port: int, method: str) -> grpc.StatusCode:
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    with grpc.insecure_channel(target, options=[("grpc.enable_http_proxy", 0)]) as channel:
        call = channel.unary_unary(method, request_serializer=bytes, response_deserializer=bytes)
        try:
            call(b"", timeout=_TIMEOUT_S)
        except grpc.RpcError as error:
            code: grpc.StatusCode = error.code()
            return code
    return grpc.StatusCode.OK


def judge_ray(found: Sequence[tuple[Listener, Answer]]) -> list[Check]:
    """`found`: those of Ray's ports that other machines can reach."""
    if not found:
        return [ok("ray", "ports 6379, 8265 and 10001 are closed to other machines")]
    return [_judge(listener, answer) for listener, answer in found]


def _judge(listener: Listener, answer: Answer) -> Check:
    where = "every address" if listener.is_everywhere else listener.host
    who = f" ({listener.process})" if listener.process else ""
    told = f"port {listener.port} is open on {where}{who}"
    match answer:
        case Answer.OPEN:
            found = f"{told}: {WHAT[listener.port]} runs anybody's code (CVE-2023-48022)"
            return fail("ray", found, f"{_CLOSE}.")
        case Answer.GUARDED:
            advice = "Its token is sent unencrypted: close the port to networks you do not trust."
            return warn("ray", f"{told}: {WHAT[listener.port]}, guarded by a token", advice)
        case Answer.UNKNOWN:
            advice = "Nothing to do if you know it; if it is Ray, close it to other machines."
            return warn("ray", f"{told}: it does not answer as Ray does", advice)
