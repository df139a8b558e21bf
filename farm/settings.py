"""Settings: flags over FARM_* variables over farm.toml in the working directory.

The only module that reads environment variables.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # settings are read before gRPC is loaded
    from svdfarm.tls import Tls

FILE = "farm.toml"
DEFAULT_ADDRESS = "127.0.0.1:50051"

# Every key of farm.toml, which is FARM_KEY in the environment, and its type.
KEYS: Mapping[str, type] = {
    "address": str,
    "token": str,
    "worker_token": str,
    "connect_timeout": float,
    "gpu_hour_price": str,
    "http": str,
    "open_metrics": bool,
    "public_url": str,
    "trusted_proxies": str,
    "worker_address": str,
    "gateway": str,
    "data": str,
    "database": str,
    "artifacts": str,
    "direct_upload": bool,
    "retention": str,
    "webhook_secret": str,
    "webhook_private": bool,
    "stall_timeout": str,
    "disk_reserve": str,
    "share_cache": bool,
    "workers": int,
    "model": str,
    "device": str,
    "deterministic": bool,
    "attention": str,
    "tls_cert": str,
    "tls_key": str,
    "tls_client_ca": str,
    "tls_ca": str,
    "tls_client_cert": str,
    "tls_client_key": str,
    "tls_server_name": str,
    "plaintext": bool,
}

# What a gateway may have and no worker needs. A worker loads what others have trained, and its
# environment is for all that runs in it.
NOT_FOR_WORKERS = frozenset(
    {
        "FARM_TOKEN",
        "FARM_DATABASE",
        "FARM_WEBHOOK_SECRET",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SECURITY_TOKEN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_AUTHORIZATION_TOKEN",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_CONFIG_FILE",
        "AWS_PROFILE",
        "PGPASSWORD",
        "PGPASSFILE",
        "PGSERVICEFILE",
    }
)

Value = TypeVar("Value", str, int, float, bool)


class SettingsInvalid(Exception):
    """A setting that cannot be used; the message names it and where it stands."""


@dataclass(frozen=True)
class Flags:
    """The flags given before the verb."""

    address: str | None = None
    token: str | None = None
    tls_ca: str | None = None
    plaintext: bool | None = None


class Settings:
    """The settings of this process. Made once by `load`."""

    def __init__(self, values: Mapping[str, str | int | float]) -> None:
        self._values = values

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, folder: Path | None = None) -> Settings:
        """Reads farm.toml and the environment. Raises SettingsInvalid that names the key."""
        values = dict(_from_file((folder or Path()) / FILE))
        for key, kind in KEYS.items():
            name = f"FARM_{key.upper()}"
            if given := environ.get(name):
                values[key] = _converted(given, kind, name)
        return cls(values)

    def get(self, key: str, flag: Value | None, default: Value) -> Value:
        """The value of `key`: the flag if given, else as set, else `default`."""
        value = self.find(key, flag)
        return default if value is None else value

    def find(self, key: str, flag: Value | None) -> Value | None:
        """The value of `key`: the flag if given, else as set, else None."""
        assert key in KEYS
        found: Any = self._values.get(key)
        return found if flag is None else flag

    def tls_for(self, address: str, ca: str | None = None) -> Tls | None:
        """What this caller trusts and shows at an address of TLS; None at any other."""
        from svdfarm.target import SECURE
        from svdfarm.tls import Tls

        if not address.startswith(SECURE):
            return None
        return Tls(
            _absolute(self.find("tls_ca", ca)),
            _absolute(self.find("tls_client_cert", None)),
            _absolute(self.find("tls_client_key", None)),
            self.find("tls_server_name", None),
        )

    def worker_token(self, flag: str | None = None) -> str | None:
        """What a worker shows its gateway: its own token, or else the farm's."""
        if flag is not None:
            return flag
        return self.find("worker_token", None) or self.find("token", None)


def _absolute(path: str | None) -> str | None:
    """For workers, whose working directory is another; links stay links, which renewals swap."""
    return None if path is None else str(Path(path).expanduser().absolute())


def hub_token_set(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether a variable holds a token of Hugging Face's hub, by the names that the hub reads."""
    return any(environ.get(name, "").strip() for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"))


def notify_socket(environ: Mapping[str, str] = os.environ) -> str | None:
    """Where systemd waits to hear that this program serves; a name with @ is abstract."""
    return environ.get("NOTIFY_SOCKET") or None


def s3_endpoint(environ: Mapping[str, str] = os.environ) -> str | None:
    """Where S3 is, if not at Amazon's, by the names that Amazon's own programs read."""
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
    return next((environ[name] for name in names if environ.get(name)), None)


def s3_region(environ: Mapping[str, str] = os.environ) -> str | None:
    """The bucket's region, by the names that Amazon's own programs read."""
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")


def traces_wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether spans are to be told, by the names that OpenTelemetry's own SDKs read."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    names = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    return exporter == "otlp" or (not exporter and any(environ.get(name) for name in names))


def otlp_protocol(environ: Mapping[str, str] = os.environ) -> str:
    """How they are sent: grpc, or http/protobuf."""
    names = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    return next((environ[name] for name in names if environ.get(name)), "grpc")


def otlp_timeout_s(environ: Mapping[str, str] = os.environ) -> float | None:
    """How long sending may take; None where a variable says so.

    OpenTelemetry's ten seconds would hold up the end of each program whose collector is away.
    """
    names = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
    return None if any(environ.get(name) for name in names) else 3.0


def _from_file(path: Path) -> Mapping[str, str | int | float]:
    try:
        with path.open("rb") as file:
            found = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path}: {error}") from error
    for key, value in found.items():
        if key not in KEYS:
            close = difflib.get_close_matches(key, KEYS, n=1)
            hint = f"did you mean {close[0]}?" if close else f"allowed: {', '.join(KEYS)}"
            raise SettingsInvalid(f"{path}: unknown key {key!r}; {hint}")
        kind = KEYS[key]
        fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
        if isinstance(value, bool) is not (kind is bool) or not fits:
            raise SettingsInvalid(f"{path}: {key} is {value!r}; allowed: {_KINDS[kind]}")
    return found


def _converted(given: str, kind: Callable[[str], Any], name: str) -> Any:
    try:
        return _SWITCH[given.lower()] if kind is bool else kind(given)
    except (ValueError, KeyError):
        raise SettingsInvalid(f"{name} is {given!r}; allowed: {_KINDS[kind]}") from None


_SWITCH = {"true": True, "1": True, "false": False, "0": False}
_KINDS: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}
