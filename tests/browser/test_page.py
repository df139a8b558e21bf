"""What people do on the page, done in a browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.browser.conftest import Start
from tests.running import IMAGES, eventually

if TYPE_CHECKING:
    from playwright.sync_api import Page

ROCKET = str(IMAGES / "rocket.jpg")
COFFEE = str(IMAGES / "coffee.png")
TOKEN = "a-token-of-sixteen"


def until(page: Page, condition: str) -> None:
    """Waits for a condition in the page. Playwright's own wait evaluates text, as no page may."""
    eventually(lambda: page.evaluate(condition))


def submit(page: Page, *images: str, **fields: str) -> None:
    """Chooses images and sends the form; the page of the new job is there then."""
    page.set_input_files("#image", list(images or [ROCKET]))
    page.locator("details summary").click()
    for name, value in fields.items():
        page.fill(f"[name={name}]", value)
    page.click("#send")
    page.wait_for_url("**/jobs/*")


def test_a_picture_is_dropped_renders_and_plays(start: Start, page: Page) -> None:
    page.goto(start(step_s=0.1).url)
    page.evaluate(
        """async (bytes) => {
          const all = new DataTransfer();
          all.items.add(new File([new Uint8Array(bytes)], "rocket.jpg", {type: "image/jpeg"}));
          const drop = new DragEvent("drop", {dataTransfer: all, bubbles: true, cancelable: true});
          document.body.dispatchEvent(drop);
        }""",
        list((IMAGES / "rocket.jpg").read_bytes()),
    )
    page.wait_for_selector("#chosen img[alt='rocket.jpg']")
    page.locator("details summary").click()
    page.fill("[name=num_inference_steps]", "20")
    page.click("#send")
    page.wait_for_url("**/jobs/*")

    page.wait_for_selector("#shot-1 .badge.s-rendering")
    steps = page.locator("#shot-1-now progress")
    until(page, "document.querySelector('#shot-1-now progress')?.value >= 2")
    assert steps.get_attribute("max") == "20"
    page.wait_for_selector("#shot-1-now .preview[src^='data:image/jpeg']")

    video = page.wait_for_selector("#shot-1 video")
    assert video is not None
    page.hover("#shot-1 video")
    until(page, "document.querySelector('#shot-1 video').currentTime > 0.3")
    assert page.inner_text("#head .badge") == "succeeded"
    until(page, "document.getElementById('told').textContent.includes('succeeded')")


def test_a_reload_in_the_middle_goes_on_where_it_was(start: Start, page: Page) -> None:
    page.goto(start(step_s=0.1).url)
    submit(page, num_inference_steps="40")
    until(page, "document.querySelector('#shot-1-now progress')?.value >= 3")
    page.reload()
    seen = page.locator("#shot-1-now progress").evaluate("bar => bar.value")
    assert seen >= 3
    until(
        page,
        f"document.querySelector('#shot-1-now progress')?.value > {seen}"
        " || document.querySelector('#shot-1 video')",
    )
    page.wait_for_selector("#shot-1 video")


def test_two_videos_play_in_step(start: Start, page: Page) -> None:
    page.goto(start().url)
    submit(page, motion_bucket_id="60, 200", seed="7", num_frames="28")
    page.wait_for_selector("#shot-2 video")
    page.wait_for_selector("#shot-1 video")
    assert page.is_disabled("#compare-button")
    page.check("#pick-1")
    page.check("#pick-2")
    page.click("text=Compare 2 clips")
    page.wait_for_selector("#play")
    assert page.locator(".compared .settings b").all_inner_texts() == ["60", "200"]
    until(page, "[...document.querySelectorAll('video')].every((video) => video.readyState >= 2)")

    times = "[...document.querySelectorAll('video')].map((video) => video.currentTime)"
    page.click("#play")
    until(page, "document.querySelectorAll('video')[1].currentTime > 1")
    page.click("#play")
    first, second = page.evaluate(times)
    assert first == second > 1
    assert page.evaluate("[...document.querySelectorAll('video')].every((v) => v.paused)")

    page.locator("#seek").evaluate(
        "bar => { bar.value = 500; bar.dispatchEvent(new Event('input', {bubbles: true})); }"
    )
    assert page.evaluate(times) == [2.0, 2.0]
    page.click("#forth")
    stepped = page.evaluate(times)
    assert stepped[0] == stepped[1] == pytest.approx(2.0 + 1.5 / 7, abs=0.08)


def test_a_job_is_cancelled_and_requeued(start: Start, page: Page) -> None:
    site = start(step_s=0.1)
    page.goto(site.url)
    submit(page, num_inference_steps="150")
    page.wait_for_selector("#shot-1 .badge.s-rendering")
    page.click("#head >> text=Cancel job")
    page.wait_for_selector("#shot-1 .badge.s-cancelled")
    page.wait_for_selector("#head .badge.s-cancelled")
    page.click("#shot-1 >> text=Requeue")
    page.wait_for_selector("#shot-1 .badge.s-rendering")
    page.click("#shot-1 >> text=Cancel")
    page.wait_for_selector("#shot-1 .badge.s-cancelled")
    page.on("dialog", lambda dialog: dialog.accept())
    page.click("#head >> text=Delete")
    page.wait_for_url(f"{site.url}/")
    assert page.locator("#jobs li").count() == 0


def test_the_list_tells_of_new_jobs_by_itself(start: Start, page: Page) -> None:
    site = start(step_s=0.05)
    page.goto(site.url)
    page.wait_for_selector("body[data-connected]")
    other = page.context.new_page()
    other.goto(site.url)
    submit(other, name="of another tab", num_inference_steps="30")
    page.wait_for_selector("#jobs li >> text=of another tab")
    until(page, "document.querySelector('#jobs progress').value > 0")
    page.wait_for_selector("#jobs .badge.s-succeeded")


def test_the_keyboard_is_enough(start: Start, page: Page) -> None:
    page.goto(start().url)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to content"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "image"
    page.set_input_files("#image", [ROCKET, COFFEE])  # what the system's own dialog does
    for wanted in ("model", "motion_bucket_id", "seed"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.name") == wanted
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    page.wait_for_url("**/jobs/*")
    page.wait_for_selector("#shot-1 video")
    page.wait_for_selector("#shot-2 video")
    for pick in ("pick-1", "pick-2"):
        page.focus(f"#{pick}")
        page.keyboard.press("Space")
    page.focus("#compare-button")
    page.keyboard.press("Enter")
    page.wait_for_url("**/compare?*")
    page.focus("#main")
    page.keyboard.press("Space")
    until(page, "document.querySelector('video').currentTime > 0.2")
    page.keyboard.press("Space")
    assert page.evaluate("document.querySelector('video').paused")


def test_a_wrong_setting_is_told_beside_the_form(start: Start, page: Page) -> None:
    page.goto(start().url)
    page.set_input_files("#image", [ROCKET])
    page.locator("details summary").click()
    page.fill("[name=size]", "100x100")
    with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
        page.click("#send")
    assert answered.value.status == 400
    assert "multiple of 8" in page.inner_text("[role=alert]")
    assert page.input_value("[name=size]") == "100x100"
    assert page.get_attribute("[name=size]", "aria-invalid") == "true"


def test_a_farm_with_a_token_asks_for_it(start: Start, page: Page) -> None:
    site = start(token=TOKEN)
    page.goto(f"{site.url}/workers")
    assert page.url == f"{site.url}/signin?next=/workers"
    page.fill("[name=token]", "not the token at all")
    with page.expect_response(lambda answer: answer.request.method == "POST") as answered:
        page.click("button.main")
    assert answered.value.status == 401
    page.wait_for_selector("[role=alert]")
    page.fill("[name=token]", TOKEN)
    page.click("button.main")
    page.wait_for_url(f"{site.url}/workers")
    page.wait_for_selector("#workers .badge.s-active")
    (cookie,) = page.context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Strict", "/")
    page.goto(site.url)
    submit(page)
    page.wait_for_selector("#shot-1 video")
    page.hover("#shot-1 video")
    until(page, "document.querySelector('#shot-1 video').currentTime > 0.1")
    page.click("text=Sign out")
    page.goto(site.url)
    assert page.url.startswith(f"{site.url}/signin")


def test_a_phone_shows_every_page_without_scrolling_sideways(start: Start, page: Page) -> None:
    site = start()
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(site.url)
    submit(page)
    page.wait_for_selector("#shot-1 video")
    job = page.url
    for path in (
        job,
        f"{site.url}/",
        *(f"{site.url}/{name}" for name in ("gallery", "workers", "docs")),
    ):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
