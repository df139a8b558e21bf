"""Images from wherever people have them."""

from __future__ import annotations

import base64
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from svdfarm import fetch, images
from svdfarm.errors import ImageRejected

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path:
            case "/photos/my%20cat.png" | "/moved.png":
                self._answer(200, PNG)
            case "/redirect":
                self._answer(302, b"", Location="/moved.png")
            case "/to-file":
                self._answer(302, b"", Location="file:///etc/passwd")
            case "/for-ever":
                self._answer(302, b"", Location="/for-ever")
            case "/huge":
                self._answer(200, PNG + bytes(fetch.LIMIT_BYTES))
            case "/short":
                self._answer(200, PNG, length=1000)
            case "/page":
                self._answer(200, b"<!doctype html>")
            case _:
                self._answer(404, b"")

    def _answer(self, code: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(code)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def only(source: images.ImageSource, folder: Path | None = None) -> images.Image:
    (image,) = images.load(source, folder=folder)
    return image


def test_a_file_is_hashed_and_read_again_when_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)

    image = only("cat.png", tmp_path)

    assert (image.stem, image.size_bytes) == ("cat", len(PNG))
    assert image.sha256 == hashlib.sha256(PNG).hexdigest()
    assert image.data is None
    assert image.read() == PNG


def test_a_file_that_changes_in_between_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    image = only(path)
    path.write_bytes(PNG + b"!")

    with pytest.raises(ImageRejected, match="changed"):
        image.read()


@pytest.mark.parametrize("path", ["/photos/my%20cat.png", "/redirect"])
def test_a_url_is_fetched_by_the_client(site: str, path: str) -> None:
    assert only(site + path).read() == PNG


def test_a_urls_file_name_names_the_shot(site: str) -> None:
    assert only(f"{site}/photos/my%20cat.png").stem == "my cat"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/nothing", "404"),
        ("/to-file", "not allowed"),
        ("/for-ever", "302"),
        ("/huge", "16 MiB"),
        ("/short", "broke off|IncompleteRead"),
        ("/page", "a web page"),
    ],
)
def test_a_url_that_gives_no_image_says_why(site: str, path: str, said: str) -> None:
    with pytest.raises(ImageRejected, match=said):
        images.load(site + path)


def test_a_silent_server_is_given_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/cat.png"
        with pytest.raises(ImageRejected, match="does not answer"):
            fetch.http(url, time_limit_s=0.2)


def test_a_server_whose_bytes_drip_is_given_up() -> None:
    done = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while not done.wait(0.05):
                connection.sendall(b"X-Drip: 1\r\n")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=drip, args=(listener,))
        server.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/cat.png"
        try:
            with pytest.raises(ImageRejected, match="does not answer"):
                fetch.http(url, time_limit_s=0.5)
        finally:
            done.set()
            server.join()


def test_a_pipe_that_nobody_writes_into_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo.png")
    with pytest.raises(ImageRejected, match="a pipe or a device"):
        images.load("fifo.png", folder=tmp_path)


@pytest.mark.parametrize(
    "url",
    [
        "data:image/png;base64," + base64.b64encode(PNG).decode(),
        "DATA:;base64," + base64.b64encode(PNG).decode(),
        "data:image/png,%89PNG%0D%0A%1A%0Apixels",
    ],
)
def test_a_data_url_is_decoded(url: str) -> None:
    assert only(url).read() == PNG


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"GIF89a", "is a GIF"),
        (b"\0\0\0\x20ftypavif", "HEIC, AVIF"),
        (b"<svg xmlns=''>", "an SVG"),
        (b"shots:\n", "is no image"),
        (PNG + bytes(images.LIMIT_BYTES), "16 MiB"),
    ],
)
def test_bytes_that_are_no_allowed_image_are_named(data: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "cat.png"
    path.write_bytes(data)

    for source in (data, path):
        with pytest.raises(ImageRejected, match=said):
            images.load(source)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nowhere.png", "nowhere.png: no such file"),
        ("", "is a folder"),
        ("*.png", "no file matches"),
        ("data:image/png;base64", "no comma"),
        ("data:image/png;base64,####", "not base64"),
        ("http://127.0.0.1:1/x.png", "refused"),
        ("http://", "cannot be fetched"),
        ("http://[::1", "is no URL"),
        ("a\0b", "a.*b"),
    ],
)
def test_a_source_that_cannot_be_read_says_why(source: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ImageRejected, match=said):
        images.load(source, folder=tmp_path)


def test_a_password_in_a_url_is_not_shown() -> None:
    with pytest.raises(ImageRejected) as caught:
        images.load("http://me:secret@127.0.0.1:1/x.png")

    assert "secret" not in str(caught.value)


def test_a_name_with_brackets_is_a_file_before_it_is_a_glob(tmp_path: Path) -> None:
    (tmp_path / "cat[1].png").write_bytes(PNG)

    assert only("cat[1].png", tmp_path).stem == "cat[1]"
