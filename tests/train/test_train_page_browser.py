"""The page of a run in a real browser, from disk, driven by its own keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dcgan_data.train.page import write_page
from dcgan_data.train.rundir import RunDirectory

MakeRun = Callable[..., RunDirectory]
Page = Any
"""Of tests/conftest.py."""
EVIL = "</script><script>window.stolen = 1</script><img src=x onerror='window.stolen = 1'><i>x</i>"
GRIDS = (10, 20, 30, 40)
HELD_CLOCK = """
    window.setTimeout = (call, wait) => { window.due = call; window.wait = wait; return 1 };
    window.clearTimeout = () => { window.due = null };
    window.setInterval = (call, wait) => { window.due = call; return 1 };
    window.clearInterval = () => { window.due = null };
"""
"""Run before the page's own script: what it puts off is done when a test says so, and not before."""


def line(step: int) -> dict[str, Any]:
    losses = {"loss_d": 1 - step / 100, "loss_g": 1 + step / 100}
    return {"step": step, "epoch": 1, **losses, "images_per_s": 10.0, "seconds": 1.0}


@pytest.fixture
def run(make_run: MakeRun) -> RunDirectory:
    """A run at step 40 of 50 with four grids."""
    return make_run([line(step) for step in (10, 20, 30, 40)], GRIDS)


@pytest.fixture
def tab(browser: Page) -> Page:
    browser.events.clear()
    return browser


@pytest.fixture
def held(tab: Page) -> Iterator[Page]:
    """A tab whose clock stands still."""
    added = tab.call("Page.addScriptToEvaluateOnNewDocument", source=HELD_CLOCK)
    yield tab
    tab.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])


def opened(tab: Page, run: RunDirectory, fragment: str = "") -> Page:
    tab.open(write_page(run).as_uri() + fragment)
    return tab


def shown_red(tab: Page) -> int:
    """How red the picture in view is: the step that it was drawn after."""
    tab.until(
        "document.getElementById('grid').complete && document.getElementById('grid').naturalWidth === 64"
    )
    script = """(() => { const canvas = document.createElement("canvas").getContext("2d");
        canvas.drawImage(document.getElementById("grid"), 0, 0);
        return canvas.getImageData(5, 5, 1, 1).data[0] })()"""
    return int(tab.evaluate(script))


def test_it_opens_from_disk_without_a_word_or_a_request(tab: Page, run: RunDirectory) -> None:
    opened(tab, run)
    assert shown_red(tab) == 40
    assert tab.text("grid-words") == "step 40, 4 epochs"
    assert tab.evaluate("document.querySelectorAll('svg polyline').length") == 2
    assert tab.evaluate("getComputedStyle(document.querySelector('.tiles')).display") == "grid"
    assert "written" in tab.text("written")
    assert tab.complaints() == []
    assert tab.requests() == {run.page.as_uri()}


def test_the_keys_go_through_the_grids(tab: Page, run: RunDirectory) -> None:
    opened(tab, run)
    seen = []
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight", "Home", "ArrowLeft", "End", "ArrowRight"):
        tab.press(key)
        seen.append((tab.text("grid-words").split(",")[0], shown_red(tab)))
    assert seen == [(f"step {step}", step) for step in (30, 20, 30, 10, 10, 40, 40)]
    tab.press("x")
    assert tab.text("grid-words") == "step 40, 4 epochs"
    assert tab.complaints() == []


def test_the_slider_has_its_own_keys(tab: Page, run: RunDirectory) -> None:
    opened(tab, run).evaluate("document.getElementById('slider').focus()")
    tab.press("ArrowLeft")
    assert tab.text("grid-words") == "step 30, 3 epochs"
    assert (
        tab.evaluate("document.getElementById('slider').getAttribute('aria-valuetext')")
        == "step 30, 3 epochs"
    )
    tab.press("Home")
    assert (tab.text("grid-words"), shown_red(tab)) == ("step 10, 1 epoch", 10)


def test_play_goes_from_the_first_to_the_last_and_stops(held: Page, run: RunDirectory) -> None:
    opened(held, run).click("#play")
    seen = [held.text("grid-words")]
    while held.evaluate("Boolean(window.due)"):
        assert held.text("play") == "Pause"
        held.evaluate("window.due()")
        seen.append(held.text("grid-words"))
    assert seen == ["step 10, 1 epoch", "step 20, 2 epochs", "step 30, 3 epochs", "step 40, 4 epochs"]
    assert held.text("play") == "Play"
    assert shown_red(held) == 40


def test_play_can_be_paused(held: Page, run: RunDirectory) -> None:
    opened(held, run).press("Home", "ArrowRight")
    held.click("#play")
    assert (held.text("play"), held.text("grid-words")) == ("Pause", "step 20, 2 epochs")
    held.click("#play")
    assert (held.text("play"), held.evaluate("window.due")) == ("Play", None)
    held.click("#play")
    held.press("End")
    assert (held.text("play"), held.text("grid-words")) == ("Play", "step 40, 4 epochs")
    assert held.evaluate("window.due") is None


def test_the_legend_tells_the_values_under_the_pointer(tab: Page, run: RunDirectory) -> None:
    opened(tab, run)
    legend = "[...document.querySelectorAll('figcaption output')].map((output) => output.textContent)"
    at = "document.querySelector('figcaption .at').textContent"
    assert tab.evaluate(legend) == ["0.6", "1.4"]
    x, y = tab.evaluate("""(() => { const svg = document.querySelector("svg"); svg.scrollIntoView();
        const point = svg.querySelector("polyline").points[1], box = svg.getBoundingClientRect();
        return [box.x + point.x * box.width / 500 + 3, box.y + 20] })()""")
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    tab.until(f"{at} !== ''")
    assert tab.evaluate(at) == ", step 20"
    assert [float(value) for value in tab.evaluate(legend)] == pytest.approx([0.8, 1.2], abs=0.01)
    tab.call("Input.dispatchMouseEvent", type="mouseMoved", x=1, y=1)
    tab.until(f"{at} === ''")
    assert tab.evaluate(legend) == ["0.6", "1.4"]
    assert tab.complaints() == []


def test_a_page_that_follows_the_run_shows_what_is_new(held: Page, run: RunDirectory) -> None:
    opened(held, run)
    assert held.evaluate("typeof window.due") == "object"
    held.click("#follow")
    assert (held.evaluate("location.hash"), held.evaluate("window.wait")) == ("#follow", 15000)
    run.append_metrics(line(45))
    write_page(run)
    reload(held)
    assert held.evaluate("document.querySelector('.tile b').textContent") == "45"
    assert held.evaluate("document.getElementById('follow').checked")
    run.append_metrics(line(50))
    write_page(run)
    reload(held)
    assert held.evaluate("document.querySelector('.progress').innerText") == "finished"
    assert held.evaluate("typeof window.due") == "undefined"
    assert held.complaints() == []


def reload(held: Page) -> None:
    """As the page would by itself when its time has come."""
    with held.expecting("Page.frameNavigated"):
        held.evaluate("window.due()")
    held.until("document.readyState === 'complete'")


def test_a_page_that_is_not_asked_to_stays(held: Page, run: RunDirectory) -> None:
    opened(held, run, "#follow")
    assert held.evaluate("document.getElementById('follow').checked && Boolean(window.due)")
    held.click("#follow")
    assert (held.evaluate("location.hash"), held.evaluate("window.due")) == ("", None)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_both_schemes(tab: Page, run: RunDirectory, scheme: str) -> None:
    tab.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
    tab.call("Emulation.setDeviceMetricsOverride", width=400, height=800, deviceScaleFactor=1, mobile=True)
    try:
        opened(tab, run)
        assert tab.evaluate("document.documentElement.scrollWidth") == 400
        shades = tab.evaluate("""["backgroundColor", "color"].map((name) =>
            Number(getComputedStyle(document.body)[name].match(/\\d+/)[0]))""")
        assert (shades[0] < shades[1]) == (scheme == "dark")
    finally:
        tab.call("Emulation.clearDeviceMetricsOverride")
        tab.call("Emulation.setEmulatedMedia", features=[])


def test_paths_and_messages_are_text(tab: Page, make_run: MakeRun) -> None:
    config = make_run(name="plain").read().config
    run = make_run(
        [line(10)], GRIDS[:1], name="evil", config={**config, "prepared": EVIL}, machine={EVIL: EVIL}
    )
    run.append_event(5, EVIL, EVIL)
    opened(tab, run)
    assert tab.evaluate("document.querySelector('.source').textContent") == EVIL
    assert tab.evaluate("document.querySelector('.warnings li').textContent") == f"step 5, {EVIL}: {EVIL}"
    assert tab.evaluate("document.querySelectorAll('i:not(.swatch)').length") == 0
    assert tab.evaluate("typeof window.stolen") == "undefined"
    assert tab.complaints() == []


def test_one_grid_needs_no_slider(tab: Page, make_run: MakeRun) -> None:
    opened(tab, make_run([line(10)], GRIDS[:1]))
    assert shown_red(tab) == 10
    assert tab.evaluate("document.getElementById('controls').hidden")
    tab.press("ArrowLeft", "Home")
    assert tab.text("grid-words") == "step 10, 1 epoch"
    assert tab.complaints() == []


def test_a_run_that_has_only_begun(tab: Page, make_run: MakeRun) -> None:
    opened(tab, make_run()).press("ArrowLeft")
    assert "No grid yet." in tab.evaluate("document.body.innerText")
    assert tab.complaints() == []
