"""A real Chromium before a real gateway; only the GPU is fake."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest

from farm.gateway.server import Gateway
from farm.jobs.params import TINY
from farm.render.fake import FakeRenderer
from svdfarm.v1 import worker_service_pb2, worker_service_pb2_grpc
from tests.running import eventually, running_gateway, running_worker

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
TIMEOUT_MS = 30_000


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        missing = f"none of {', '.join(CHROMIUM)} is installed: apt-get install chromium"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its sandbox wants rights that a container's root does not have.
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


class Site:
    """A farm, and where its page is."""

    def __init__(self, gateway: Gateway) -> None:
        self.url = f"http://{gateway.http}"


Start = Callable[..., Site]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a farm with one worker that takes `step_s` a step."""
    with ExitStack() as stack:

        def started(step_s: float = 0.0, token: str | None = None) -> Site:
            gateway = stack.enter_context(running_gateway(tmp_path / "data", token=token))
            renderer = FakeRenderer(TINY, step_s)
            stack.enter_context(
                running_worker(str(gateway.address), tmp_path, renderer=renderer, token=token)
            )
            site = Site(gateway)
            with grpc.insecure_channel(str(gateway.address)) as channel:
                stub = worker_service_pb2_grpc.WorkerServiceStub(channel)
                metadata = [("authorization", f"Bearer {token}")] if token else []
                ask = worker_service_pb2.ListWorkersRequest()
                eventually(lambda: stub.ListWorkers(ask, metadata=metadata).workers[:1])
                eventually(lambda: stub.ListWorkers(ask, metadata=metadata).workers[0].models)
            return site

        yield started


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser of somebody who was never here."""
    context = browser.new_context(viewport={"width": 1280, "height": 860}, locale="en-GB")
    context.set_default_timeout(TIMEOUT_MS)
    yield context
    context.close()


def _is_wrong(said: ConsoleMessage) -> bool:
    refused = ("(Bad Request)", "(Unauthorized)")  # pages that say why
    return said.type == "error" and not said.text.endswith(refused)


@pytest.fixture
def page(context: BrowserContext) -> Iterator[Page]:
    """A tab; what its console complains about fails the test: the strict policy among it."""
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if _is_wrong(said) else None)
    yield page
    assert complaints == []
