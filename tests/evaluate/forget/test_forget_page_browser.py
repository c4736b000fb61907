"""The page for drawing boxes in a real browser, from disk, by real mouse and keys; and what it downloads."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dcgan_data.evaluate.forget.annotate import AnnotateSettings, annotate
from dcgan_data.evaluate.forget.boxes import Box, check_boxes, read_boxes
from dcgan_data.evaluate.forget.running import ForgetSettings, forget
from dcgan_data.train.sample import open_sampler

Page = Any
"""Of tests/conftest.py."""
PATIENCE_S = 20
EVIL = "<img src=x onerror='window.stolen = 1'><i>x<"
SIZE, SAMPLES, SEED = 32, 5, 2
KEYS = {"Delete": 46, "Backspace": 8, "Escape": 27}


@pytest.fixture(scope="module")
def annotated(tmp_path_factory: pytest.TempPathFactory, texture_run: Path) -> tuple[Path, Path]:
    """A run whose name is a script, and its page with 5 samples. Tests only read them."""
    run = Path(shutil.copytree(texture_run, tmp_path_factory.mktemp("annotated") / EVIL))
    result = annotate(run, AnnotateSettings(samples=SAMPLES, seed=SEED, device="cpu"))
    return run, Path(result.page)


@pytest.fixture
def tab(browser: Page, annotated: tuple[Path, Path]) -> Iterator[Page]:
    """The page with nothing drawn yet."""
    browser.events.clear()
    opened(browser, annotated)
    end = time.monotonic() + PATIENCE_S
    while not browser.evaluate("Object.values(localStorage).every((boxes) => boxes === '[]')"):
        assert time.monotonic() < end
        browser.evaluate("localStorage.clear()")  # which may come to the next page too late
        opened(browser, annotated)
    yield browser
    assert browser.complaints() == []


def opened(tab: Page, annotated: tuple[Path, Path]) -> Page:
    tab.open(annotated[1].as_uri())
    return tab


def mouse(tab: Page, kind: str, x: float, y: float) -> None:
    """Put the mouse at a place of the sample, in its pixels."""
    left, top, side = tab.evaluate(
        "(() => { const box = document.getElementById('stage').getBoundingClientRect();"
        "return [box.x, box.y, box.width] })()"
    )
    place = {"x": left + x * side / SIZE, "y": top + y * side / SIZE}
    pressed = 0 if kind == "mouseReleased" else 1
    tab.call("Input.dispatchMouseEvent", type=kind, button="left", buttons=pressed, clickCount=1, **place)


def drag(tab: Page, x1: float, y1: float, x2: float, y2: float) -> None:
    mouse(tab, "mousePressed", x1, y1)
    mouse(tab, "mouseMoved", (x1 + x2) / 2, (y1 + y2) / 2)
    mouse(tab, "mouseMoved", x2, y2)
    mouse(tab, "mouseReleased", x2, y2)


def key(tab: Page, name: str, modifiers: int = 0) -> None:
    """Press a key without a character; 2 is Ctrl."""
    named = {
        "key": name,
        "windowsVirtualKeyCode": KEYS.get(name) or ord(name.upper()),
        "modifiers": modifiers,
    }
    for kind in ("keyDown", "keyUp"):
        tab.call("Input.dispatchKeyEvent", type=kind, **named)


def listed(tab: Page) -> list[str]:
    """The boxes of the sample in view."""
    words: list[str] = tab.evaluate("[...document.querySelectorAll('#list span')].map((s) => s.textContent)")
    return words


def test_it_opens_from_disk_without_a_word_or_a_request(tab: Page, annotated: tuple[Path, Path]) -> None:
    tab.until("[...document.images].every((image) => image.complete && image.naturalWidth === 32)")
    assert tab.evaluate("document.querySelectorAll('.thumb').length") == SAMPLES
    assert tab.text("place") == "sample 0 of 4: 0 boxes" and tab.text("total") == "0 boxes on 0 samples"
    disabled = ("previous", "remove", "undo", "download")
    assert all(tab.evaluate(f"document.getElementById('{name}').disabled") for name in disabled)
    assert tab.evaluate("getComputedStyle(document.getElementById('stage')).cursor") == "crosshair"
    assert tab.requests() == {annotated[1].as_uri()}


def test_the_samples_are_those_of_the_run(tab: Page, annotated: tuple[Path, Path]) -> None:
    """Pixel for pixel, in the order of the seed."""
    expected = next(open_sampler(annotated[0], device="cpu").draw(SAMPLES, SEED))
    shown = """(async (place) => { const image = new Image();
        image.src = document.querySelectorAll(".thumb img")[place].src; await image.decode();
        const context = document.createElement("canvas").getContext("2d"); context.drawImage(image, 0, 0);
        return [...context.getImageData(0, 0, 32, 32).data].filter((_, n) => n % 4 < 3) })"""
    for place in (0, 4):
        assert tab.evaluate(f"{shown}({place})") == expected[place].ravel().tolist()


def test_names_are_text(tab: Page, annotated: tuple[Path, Path]) -> None:
    assert EVIL in tab.evaluate("document.querySelector('h1').textContent")
    assert tab.evaluate("document.querySelectorAll('i').length") == 0
    assert tab.evaluate("typeof window.stolen") == "undefined"
    command = tab.evaluate("document.querySelector('pre').textContent")
    assert command.startswith("dcgan-data forget run '") and command.endswith(
        " --checkpoint 2 --boxes boxes.json"
    )


def test_a_box_is_drawn_with_the_mouse(tab: Page) -> None:
    mouse(tab, "mousePressed", 3.5, 10.5)
    mouse(tab, "mouseMoved", 20.5, 16.5)
    assert tab.evaluate("document.querySelectorAll('#outlines .outline.new').length") == 1
    assert listed(tab) == [], "it is not there before the button is let go"
    mouse(tab, "mouseReleased", 20.5, 16.5)
    assert listed(tab) == ["1: 18 x 7 pixels at 3, 10"]
    assert tab.text("total") == "1 box on 1 sample" and tab.text("place") == "sample 0 of 4: 1 box"
    outline = "document.querySelector('#outlines .outline').getBoundingClientRect()"
    stage = "document.getElementById('stage').getBoundingClientRect()"
    x, width = tab.evaluate(f"[{outline}.x - {stage}.x, {outline}.width].map((n) => n / {stage}.width * 32)")
    assert (x, width) == (pytest.approx(3, abs=0.01), pytest.approx(18, abs=0.01))
    assert tab.evaluate("document.querySelectorAll('.thumb')[0].querySelectorAll('.outline').length") == 1
    assert tab.evaluate("document.querySelectorAll('.thumb')[0].innerText").strip() == "0 (1)"


def test_a_box_may_be_drawn_backwards_and_over_the_edge(tab: Page) -> None:
    drag(tab, 30.5, 20.5, 28.5, 10.5)
    drag(tab, 4.5, 4.5, -9, -3)
    drag(tab, 20.5, 20.5, 90, 31.9)
    assert listed(tab) == [
        "1: 3 x 11 pixels at 28, 10",
        "2: 5 x 5 pixels at 0, 0",
        "3: 12 x 12 pixels at 20, 20",
    ]


def test_a_click_and_another_button_draw_nothing(tab: Page) -> None:
    drag(tab, 5, 5, 5.05, 5.05)
    for kind in ("mousePressed", "mouseMoved", "mouseReleased"):
        place = 300 if kind == "mousePressed" else 400
        tab.call("Input.dispatchMouseEvent", type=kind, x=place, y=place, button="right", clickCount=1)
    assert listed(tab) == [] and tab.evaluate("document.querySelectorAll('.outline').length") == 0


def test_escape_lets_go_of_a_box(tab: Page) -> None:
    mouse(tab, "mousePressed", 3, 3)
    mouse(tab, "mouseMoved", 20, 20)
    key(tab, "Escape")
    assert tab.evaluate("document.querySelectorAll('.outline').length") == 0
    mouse(tab, "mouseReleased", 25, 25)
    assert listed(tab) == []


def test_boxes_are_removed_and_brought_back(tab: Page) -> None:
    tab.press("ArrowRight")
    for left in (0.5, 10.5, 20.5):
        drag(tab, left, 2.5, left + 5, 8.5)
    tab.click("#list button", 1)
    assert listed(tab) == ["1: 6 x 7 pixels at 0, 2", "2: 6 x 7 pixels at 20, 2"]
    key(tab, "Delete")
    assert listed(tab) == ["1: 6 x 7 pixels at 0, 2"]
    tab.press("u")
    assert len(listed(tab)) == 2
    key(tab, "z", modifiers=2)
    assert listed(tab)[1] == "2: 6 x 7 pixels at 10, 2"
    tab.press("ArrowRight")
    tab.click("#undo")
    assert tab.text("place") == "sample 1 of 4: 2 boxes", "back to where it was done"
    tab.click("#remove")
    key(tab, "Backspace")
    key(tab, "Delete")
    assert tab.text("total") == "0 boxes on 0 samples"


def test_keys_and_pictures_go_through_the_samples(tab: Page) -> None:
    seen = []
    for name in ("ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowRight", "Home", "ArrowLeft"):
        tab.press(name)
        seen.append(tab.text("place").split(" of")[0])
    assert seen == [f"sample {place}" for place in (1, 2, 1, 4, 4, 0, 0)]
    tab.click(".thumb", 3)
    assert tab.text("place") == "sample 3 of 4: 0 boxes"
    sources = "[document.getElementById('sample').src, document.querySelectorAll('.thumb img')[3].src]"
    shown, wanted = tab.evaluate(sources)
    assert shown == wanted
    assert tab.evaluate("document.querySelectorAll('[aria-current=true]').length") == 1
    tab.click("#next")
    assert tab.evaluate("document.getElementById('next').disabled")
    tab.press("s")
    assert tab.evaluate("getComputedStyle(document.getElementById('sample')).imageRendering") == "auto"
    tab.click("#smooth")
    assert tab.evaluate("getComputedStyle(document.getElementById('sample')).imageRendering") == "pixelated"


def test_a_reload_loses_nothing(tab: Page, annotated: tuple[Path, Path]) -> None:
    drag(tab, 1.5, 1.5, 9.5, 9.5)
    tab.press("End")
    drag(tab, 2.5, 2.5, 9.5, 9.5)
    opened(tab, annotated)
    assert tab.text("total") == "2 boxes on 2 samples"
    assert listed(tab) == ["1: 9 x 9 pixels at 1, 1"]
    tab.press("End")
    assert listed(tab) == ["1: 8 x 8 pixels at 2, 2"]


@pytest.mark.parametrize("stored", ["{", '{"a": 1}', '[{"sample": 0}]', "[null]", '[{"sample": 0.5}]'])
def test_what_cannot_be_boxes_is_not_taken_for_some(
    tab: Page, annotated: tuple[Path, Path], stored: str
) -> None:
    drag(tab, 1.5, 1.5, 9.5, 9.5)
    tab.evaluate(f"localStorage.setItem(localStorage.key(0), {json.dumps(stored)})")
    opened(tab, annotated)
    assert tab.text("total") == "0 boxes on 0 samples"


def test_a_browser_that_keeps_nothing_says_so(tab: Page, annotated: tuple[Path, Path]) -> None:
    script = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('denied') }})"
    added = tab.call("Page.addScriptToEvaluateOnNewDocument", source=script)
    try:
        opened(tab, annotated)
        assert "does not keep boxes" in tab.text("storage-note")
        drag(tab, 1.5, 1.5, 9.5, 9.5)
        assert tab.text("total") == "1 box on 1 sample"
    finally:
        tab.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])


def test_what_is_downloaded_is_read_and_forgotten(
    tab: Page, annotated: tuple[Path, Path], tmp_path: Path, reporter: Any
) -> None:
    tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True)
    drag(tab, 1.5, 2.5, 12.5, 20.5)
    tab.press("End")
    drag(tab, 20.5, 0, 40, 10.5)
    drag(tab, 5.5, 5.5, 9.5, 40)
    with tab.expecting("Browser.downloadProgress", lambda progress: progress["state"] == "completed"):
        tab.click("#download")
    assert [path.name for path in tmp_path.iterdir()] == ["boxes.json"]
    run, path = annotated[0], tmp_path / "boxes.json"
    file = read_boxes(path)
    assert file.boxes == (Box(0, 1, 2, 12, 19), Box(4, 20, 0, 12, 11), Box(4, 5, 5, 5, 27))
    assert (file.seed, file.samples, file.image_size, file.name) == (SEED, SAMPLES, SIZE, f"{run}, step 2")
    sampler = open_sampler(run, device="cpu")
    check_boxes(path, file, sampler.generator, sampler.trained)
    settings = ForgetSettings(path, controls=1, keep_statistics=True, device="cpu", out=tmp_path / "results")
    assert forget(run, settings, reporter).boxes == 3


def test_it_fits_a_narrow_screen_and_a_finger(tab: Page, annotated: tuple[Path, Path]) -> None:
    tab.call("Emulation.setDeviceMetricsOverride", width=340, height=700, deviceScaleFactor=1, mobile=False)
    tab.call("Emulation.setTouchEmulationEnabled", enabled=True)
    try:
        opened(tab, annotated)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 340
        left, top, side = tab.evaluate(
            "(() => { const box = document.getElementById('stage').getBoundingClientRect();"
            "return [box.x, box.y, box.width] })()"
        )
        for kind, places in (("touchStart", [4.5]), ("touchMove", [14.5]), ("touchEnd", [])):
            points = [{"x": left + at * side / SIZE, "y": top + at * side / SIZE} for at in places]
            tab.call("Input.dispatchTouchEvent", type=kind, touchPoints=points)
        assert listed(tab) == ["1: 11 x 11 pixels at 4, 4"]
        assert tab.evaluate("scrollY") == 0
    finally:
        tab.call("Emulation.setTouchEmulationEnabled", enabled=False)
        tab.call("Emulation.clearDeviceMetricsOverride")
