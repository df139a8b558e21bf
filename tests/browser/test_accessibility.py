"""Every page by what a machine can check: axe-core's rules of WCAG 2.2 A and AA, and its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.browser.conftest import TIMEOUT_MS, Site, Start
from tests.browser.test_page import ROCKET, TOKEN, submit
from tests.running import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDTHS_PX = (1280, 360)


@pytest.fixture(params=["light", "dark"])
def seen(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Page]:
    """A tab of somebody who likes it light, or dark."""
    context = browser.new_context(color_scheme=request.param, reduced_motion="reduce")
    context.set_default_timeout(TIMEOUT_MS)
    yield context.new_page()
    context.close()


def check(page: Page, what: str) -> None:
    """Fails with what axe finds on the page as it stands, wide and narrow."""
    for width_px in WIDTHS_PX:
        page.set_viewport_size({"width": width_px, "height": 800})
        found = Axe().run(page, options={"runOnly": RULES})
        told = [
            f"{violation['id']} ({violation['help']}): {node['html'][:200]}"
            for violation in found.response["violations"]
            for node in violation["nodes"]
        ]
        assert told == [], f"{what}, {width_px} px wide"
        assert len(found.response["passes"]) > 15, f"{what}: axe looked at next to nothing"


def test_a_farm_with_jobs(start: Start, seen: Page) -> None:
    site = start(step_s=0.05)
    seen.goto(site.url)
    submit(seen, motion_bucket_id="60, 200", name="a sweep", num_inference_steps="4")
    job = seen.url
    seen.wait_for_selector("#head .badge.s-succeeded")
    seen.wait_for_selector("#shot-2 video")
    check(seen, "a job that has ended")
    shots = [f"shot={job.removeprefix(site.url + '/')}/shots/{number}" for number in (1, 2)]

    seen.goto(site.url)
    submit(seen, seed="1-2", num_inference_steps="200")
    seen.wait_for_selector("#shot-1-now .preview")
    check(seen, "a job that renders")
    _wait_for_plots(seen, site)
    check(seen, "jobs")
    seen.goto(f"{site.url}/workers")
    check(seen, "workers")
    seen.go_back()
    seen.locator("#jobs a").first.click()
    seen.click("#head >> text=Cancel job")
    seen.wait_for_selector("#head .badge.s-cancelled")
    check(seen, "a cancelled job")

    for path in ("gallery", "docs", f"compare?{'&'.join(shots)}", "nowhere"):
        seen.goto(f"{site.url}/{path}")
        check(seen, path)
    _wait_for_plots(seen, site)
    seen.set_input_files("#image", [ROCKET])
    seen.locator("details summary").click()
    seen.fill("[name=size]", "100x100")
    seen.click("#send")
    seen.wait_for_selector("[role=alert]")
    check(seen, "a wrong form")


def test_a_farm_with_nothing_and_its_door(start: Start, seen: Page) -> None:
    site = start(token=TOKEN)
    seen.goto(site.url)
    check(seen, "sign in")
    seen.fill("[name=token]", "not the token at all")
    seen.click("button.main")
    seen.wait_for_selector("[role=alert]")
    check(seen, "sign in, refused")
    seen.fill("[name=token]", TOKEN)
    seen.click("button.main")
    seen.wait_for_url(f"{site.url}/")
    for path in ("", "gallery", "compare"):
        seen.goto(f"{site.url}/{path}")
        check(seen, f"{path or 'jobs'}, with none")


def test_tab_goes_through_a_page_from_top_to_bottom(start: Start, page: Page) -> None:
    site = start()
    page.goto(site.url)
    submit(page)
    page.wait_for_selector("#shot-1 video")
    for path in (page.url, site.url, f"{site.url}/gallery", f"{site.url}/workers"):
        page.goto(path)
        count = page.evaluate(
            """() => {
              const all = document.querySelectorAll("a, button, input, select, summary, video");
              const shown = [...all].filter((e) => !e.disabled && e.checkVisibility());
              shown.forEach((e, index) => { e.dataset.order = index; });
              return shown.length;
            }"""
        )
        assert count > 5, path
        met: list[int] = []
        for _ in range(3 * count):  # a video's own controls are several steps
            page.keyboard.press("Tab")
            at = page.evaluate("Number(document.activeElement.dataset.order ?? -1)")
            if at not in met[-1:]:
                met.append(at)
            if at == count - 1:
                break
        assert met == list(range(count)), path


def _wait_for_plots(page: Page, site: Site) -> None:
    page.goto(site.url)
    page.wait_for_selector("#plots svg >> nth=1", state="attached")
    eventually(lambda: page.evaluate("document.body.dataset.connected"))
