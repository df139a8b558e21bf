"""A way to the gateway's services for the gateway's own HTTP side, and for nobody else."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import grpc.aio

from farm.gateway.config import ConfigInvalid


class PrivateEndpoint:
    """A unix socket in a folder that its owner alone may enter. Whoever calls is asked as ever."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="svdfarm-"))  # mode 0700

    @property
    def target(self) -> str:
        """As gRPC names it, to serve and to call."""
        return f"unix:{self._folder / 'grpc'}"

    def serve(self, server: grpc.aio.Server) -> None:
        """Has a server listen there. Raises ConfigInvalid."""
        try:
            server.add_insecure_port(self.target)
        except RuntimeError as error:
            raise ConfigInvalid(
                f"{self.target} cannot be bound: is TMPDIR a folder with a long name? The system "
                "allows some 100 characters"
            ) from error

    def remove(self) -> None:
        """Nobody calls any more."""
        shutil.rmtree(self._folder, ignore_errors=True)
