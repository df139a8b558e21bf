"""The screenshots under docs/images: python -m tests.browser.pictures, with Chromium installed.

Every clip in them is rendered, by nano on the CPU: a few minutes.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image
from playwright.sync_api import sync_playwright

from farm.render.engine import Engine
from farm.render.load import load
from farm.render.renderer import EngineRenderer
from tests.running import IMAGES, eventually, running_gateway, running_worker

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

OUT = Path(__file__).parents[2] / "docs" / "images"
PHOTOGRAPHS = ("chelsea.png", "coffee.png", "astronaut.png")


def main() -> None:
    """Renders, looks, and writes web-*.png."""
    with (
        tempfile.TemporaryDirectory(prefix="pictures-") as name,
        running_gateway(Path(name) / "data") as gateway,
        running_worker(
            str(gateway.address),
            Path(name),
            renderer=EngineRenderer(Engine(load("nano", device="cpu"))),
        ),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        _look(browser, f"http://{gateway.http}")
        browser.close()
    for path in OUT.glob("web-*.png"):
        with Image.open(path) as picture:
            picture.convert("RGB").quantize(256).save(path, optimize=True)  # a third of the bytes


def _look(browser: Browser, url: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(600_000)
    page.goto(url)
    page.wait_for_selector("option >> text=nano", state="attached")
    _submit(page, PHOTOGRAPHS, name="three photographs", seed="7")
    _ended(page)
    first = page.url
    page.goto(url)
    _submit(page, ("coffee.png",), motion_bucket_id="40, 220", seed="7", name="how much motion")
    _ended(page)
    for number in (1, 2):
        page.check(f"#pick-{number}")
    page.click("#compare-button")
    page.wait_for_selector("#play")
    eventually(
        lambda: page.evaluate(
            "[...document.querySelectorAll('video')].every((video) => video.readyState >= 3)"
        )
    )
    page.locator("#seek").evaluate(
        "bar => { bar.value = 850; bar.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    _settle(page)
    page.screenshot(path=OUT / "web-compare.png", clip=_clip(1280, 640))

    page.goto(url)
    _submit(page, PHOTOGRAPHS[:2], seed="2", name="a cat and a cup")
    page.wait_for_selector("#shot-1 video")
    page.wait_for_selector("#shot-2-now .preview")
    _settle(page)
    page.screenshot(path=OUT / "web-job.png")
    running = page.url

    for scheme in ("light", "dark"):
        other = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme=scheme)
        other.goto(url)
        other.wait_for_selector(".plot >> nth=1")
        _settle(other)
        other.screenshot(path=OUT / f"web-{scheme}.png")
        other.close()
    phone = browser.new_page(viewport={"width": 390, "height": 844}, color_scheme="dark")
    phone.goto(first)
    _settle(phone)
    phone.screenshot(path=OUT / "web-phone.png")
    phone.goto(url)
    phone.emulate_media(color_scheme="light")
    phone.wait_for_selector(".plot >> nth=1", state="attached")
    _settle(phone)
    phone.screenshot(path=OUT / "web-phone-jobs.png")
    page.goto(f"{url}/workers")
    _settle(page)
    page.screenshot(path=OUT / "web-workers.png", clip=_clip(1280, 480))
    page.goto(running)
    _ended(page)
    page.goto(f"{url}/gallery")
    page.evaluate(  # the videos themselves, and not the images before them
        """() => {
          for (const video of document.querySelectorAll("video")) {
            video.preload = "auto";
            video.currentTime = 1;
          }
        }"""
    )
    eventually(
        lambda: page.evaluate(
            "[...document.querySelectorAll('video')].every((v) => v.readyState > 2 && !v.seeking)"
        )
    )
    _settle(page)
    page.screenshot(path=OUT / "web-gallery.png")


def _submit(page: Page, images: tuple[str, ...], **fields: str) -> None:
    page.set_input_files("#image", [str(IMAGES / image) for image in images])
    page.locator("details summary").click()
    for name, value in fields.items():
        page.fill(f"[name={name}]", value)
    page.click("#send")
    page.wait_for_url("**/jobs/*")


def _ended(page: Page) -> None:
    page.wait_for_selector("#head .badge.s-succeeded")


def _settle(page: Page) -> None:
    """All that is in view has its pixels."""
    eventually(
        lambda: page.evaluate(
            "[...document.images].every((i) => i.complete || i.getBoundingClientRect().top > 900)"
        )
    )
    page.wait_for_timeout(500)


def _clip(width: int, height: int) -> dict[str, float]:
    return {"x": 0, "y": 0, "width": width, "height": height}


if __name__ == "__main__":
    main()
