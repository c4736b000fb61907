"""The page in a real browser, driven by its own keys."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_data.audit import audit
from dcgan_data.formats.dataset import DatasetInfo
from dcgan_data.report import write_report

WriteSet = Callable[..., DatasetInfo]
Page = Any
"""Of tests/conftest.py."""
EVIL = "</script><script>window.stolen = 1</script><img src=x onerror='window.stolen = 1'><i>x</i>"


@pytest.fixture(scope="module")
def judged_set(tmp_path_factory: pytest.TempPathFactory, noise: np.ndarray, write_set: WriteSet) -> Path:
    """52 groups, 60 removals in two bands and three sizes; one key is a script. Tests only read it."""
    out = tmp_path_factory.mktemp("browser") / "set"
    stars = [[0.72]] * 25 + [[0.95]] * 25 + [[0.71, 0.81, 0.91], [0.96] * 7]
    write_set(
        out,
        stars,
        noise,
        key=lambda number: EVIL if number == 105 else f"image {number:03d}",
        views={0.72: "mirror zoom 0.80x1.00 shift +3.2-1.6", 0.95: "kept: zoom 0.50x0.50"},
    )
    write_report(out)
    return out


@pytest.fixture
def tab(browser: Page, judged_set: Path) -> Page:
    """The page of ``judged_set``, with nothing judged yet."""
    browser.events.clear()
    browser.open(address(judged_set))
    browser.evaluate("localStorage.clear()")
    return browser


def address(out: Path, fragment: str = "") -> str:
    return (out / "report" / "index.html").as_uri() + fragment


def audit_mode(tab: Page, out: Path) -> Page:
    tab.open(address(out, "#audit"))
    tab.until("!document.getElementById('audit-mode').hidden")
    return tab


def shown_key(tab: Page) -> str:
    return str(tab.evaluate("document.getElementById('removed-key').title"))


def test_the_report_opens_from_disk_without_a_word_or_a_request(tab: Page, judged_set: Path) -> None:
    assert tab.evaluate("document.getElementById('audit-mode').hidden")
    assert tab.evaluate("document.querySelectorAll('.group').length") == 20
    tab.until(
        "[...document.images].every((image) => !image.src || (image.complete && image.naturalWidth > 0))"
    )
    assert tab.evaluate("getComputedStyle(document.querySelector('.group')).display") == "flex"
    audit_mode(tab, judged_set).press("y", "b")
    assert tab.complaints() == []
    assert tab.requests() == {address(judged_set)}


def test_keys_are_text(tab: Page, judged_set: Path) -> None:
    shown = (
        "[...document.querySelectorAll('.key')].filter((key) => key.title === %s).map((key) => key.innerText)"
    )
    assert tab.evaluate(shown % json.dumps(EVIL)) == ["\u2026" + EVIL[-15:]]
    audit_mode(tab, judged_set)
    while shown_key(tab) != EVIL:
        assert not tab.evaluate("document.getElementById('pair').hidden")
        tab.press("y")
    assert tab.text("removed-key") == EVIL
    assert tab.evaluate("document.querySelectorAll('i').length") == 0
    assert tab.evaluate("typeof window.stolen") == "undefined"
    assert tab.complaints() == []


def test_the_kept_image_is_first_and_removals_say_why(tab: Page) -> None:
    first = "document.querySelector('.group')"
    assert tab.evaluate(f"[...{first}.querySelectorAll('figure')].map((f) => f.className)") == [
        "kept",
        *["removed"] * 7,
    ]
    assert tab.evaluate(f"{first}.querySelector('.removed .badge').textContent") == "0.960"
    assert tab.evaluate(f"{first}.querySelector('.removed figcaption').innerText").startswith("identity\n")
    sizes = tab.evaluate(
        "[...document.querySelectorAll('.group')].map((g) => g.querySelectorAll('figure').length)"
    )
    assert sizes == [8, 4, *[2] * 18]


def test_the_pager(tab: Page) -> None:
    assert "Showing 52 of 52 groups." in tab.text("groups-note")
    assert tab.text("page-note") == "1 to 20 of 52"
    assert tab.evaluate("document.getElementById('previous').disabled")
    tab.click("#next")
    assert tab.text("page-note") == "21 to 40 of 52"
    tab.click("#next")
    assert tab.text("page-note") == "41 to 52 of 52"
    assert tab.evaluate("document.querySelectorAll('.group').length") == 12
    assert tab.evaluate("document.getElementById('next').disabled")
    tab.click("#previous")
    assert tab.text("page-note") == "21 to 40 of 52"


def test_the_filter_by_score_band(tab: Page) -> None:
    chips = tab.evaluate("[...document.querySelectorAll('#bands .chip')].map((chip) => chip.innerText)")
    assert [chip.split() for chip in chips] == [
        ["all"],
        ["0.70-0.75", "26"],
        ["0.75-0.80", "0"],
        ["0.80-0.85", "1"],
        ["0.85-0.90", "0"],
        ["0.90-0.95", "1"],
        ["0.95-1.00", "26"],
    ]
    tab.click("#bands .chip", 1)
    assert "Showing 26 of 26 groups with a removal in this score band." in tab.text("groups-note")
    assert tab.text("page-note") == "1 to 20 of 26"
    outside = "document.querySelectorAll('.group')[0].querySelectorAll('.outside').length"
    assert tab.evaluate(outside) == 2
    tab.click("#bands .chip", 3)
    assert tab.evaluate("document.querySelectorAll('.group').length") == 1
    assert tab.evaluate("document.getElementById('pager').hidden")
    tab.click("#bands .chip", 0)
    assert tab.text("page-note") == "1 to 20 of 52"


def test_judging_with_the_keys(tab: Page, judged_set: Path) -> None:
    audit_mode(tab, judged_set)
    assert tab.text("audit-progress") == "0 of 60"
    seen = [shown_key(tab)]
    for key in "yny":
        tab.press(key)
        seen.append(shown_key(tab))
    assert tab.text("audit-progress") == "3 of 60"
    assert tab.text("audit-counts") == "2 same, 1 different"
    assert len(set(seen)) == 4
    for place in (2, 1, 0):
        tab.press("u")
        assert shown_key(tab) == seen[place]
    tab.press("u", "u")
    assert tab.text("audit-progress") == "0 of 60"
    assert tab.evaluate("document.getElementById('undo').disabled")
    tab.press("x", "Y")  # a key without a meaning; a capital
    assert tab.text("audit-progress") == "1 of 60"


def test_a_reload_keeps_the_verdicts(tab: Page, judged_set: Path) -> None:
    audit_mode(tab, judged_set).press("y", "n", "n")
    key = shown_key(tab)
    audit_mode(tab, judged_set)
    assert tab.text("audit-progress") == "3 of 60"
    assert tab.text("audit-counts") == "1 same, 2 different"
    assert shown_key(tab) == key
    tab.press("u", "u", "u")
    assert tab.text("audit-progress") == "0 of 60"


def test_a_browser_that_keeps_nothing_says_so(tab: Page, judged_set: Path) -> None:
    script = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('denied') }})"
    added = tab.call("Page.addScriptToEvaluateOnNewDocument", source=script)
    try:
        audit_mode(tab, judged_set).press("y", "n")
        assert tab.text("audit-progress") == "2 of 60"
        assert "does not keep verdicts" in tab.text("storage-note")
        assert tab.complaints() == []
    finally:
        tab.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added["identifier"])


def test_a_key_held_down_judges_one_pair(tab: Page, judged_set: Path) -> None:
    audit_mode(tab, judged_set)
    for repeat in (False, True, True):
        tab.call("Input.dispatchKeyEvent", type="keyDown", key="y", text="y", autoRepeat=repeat)
    assert tab.text("audit-progress") == "1 of 60"


def judge_until(tab: Page, fact: str) -> None:
    """Until a pair with such a fact is shown."""
    while fact not in tab.text("facts"):
        assert not tab.evaluate("document.getElementById('pair').hidden"), f"no pair is {fact}"
        tab.press("y")


def transforms(tab: Page) -> tuple[str, str]:
    """Of the kept and of the removed image."""
    kept, removed = tab.evaluate("[...document.querySelectorAll('#stage img')].map((i) => i.style.transform)")
    return kept, removed


def test_the_two_images_over_each_other(tab: Page, judged_set: Path) -> None:
    audit_mode(tab, judged_set)
    judge_until(tab, "mirror")
    boxes = "[...document.querySelectorAll('#stage .picture')].map((p) => p.getBoundingClientRect().x)"
    assert transforms(tab) == ("", "")
    left, right = tab.evaluate(boxes)
    assert left < right
    tab.press("b")
    assert transforms(tab) == ("", "scale(-1.25, 1) translate(-10%, 5%)")
    left, right = tab.evaluate(boxes)
    assert left == right
    animation = "getComputedStyle(document.querySelector('#stage .removed')).animationName"
    assert tab.evaluate(animation) == "blink"
    tab.press("d")
    assert tab.evaluate("document.getElementById('stage').className") == "difference"
    judge_until(tab, "kept: zoom")
    assert transforms(tab) == ("scale(2, 2) translate(0%, 0%)", "")
    judge_until(tab, "identity")
    assert transforms(tab) == ("", "")
    tab.press(" ", " ")
    assert tab.evaluate("document.getElementById('stage').className") == ""
    assert transforms(tab) == ("", "")


def test_all_is_judged_downloaded_and_audited(tab: Page, judged_set: Path, tmp_path: Path) -> None:
    tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True)
    audit_mode(tab, judged_set).press("n", *"y" * 58)
    tab.click("#different")
    assert tab.text("audit-progress") == "60 of 60"
    assert tab.text("done-text") == "2 of 60 judged to be different."
    tab.press("u")
    tab.click("#same")
    tab.press("y")  # all is judged: this changes nothing
    assert tab.text("done-text") == "1 of 60 judged to be different."
    with tab.expecting("Browser.downloadProgress", lambda progress: progress["state"] == "completed"):
        tab.click("#download")
    assert [path.name for path in tmp_path.iterdir()] == ["verdicts.json"]
    out = Path(shutil.copytree(judged_set, tmp_path / "set"))
    result = audit(out, tmp_path / "verdicts.json")
    assert (result.overall.judged, result.overall.false_positives) == (60, 1)
    assert {line.band: line.judged for line in result.bands if line.judged} == {
        "0.70-0.75": 26,
        "0.80-0.85": 1,
        "0.90-0.95": 1,
        "0.95-1.00": 32,
    }
    assert result.notes == ("Every removal was judged: the rate is a count, not an estimate.",)
    tab.open(address(out))
    assert "1 of 60 wrong" in tab.evaluate("document.querySelector('.claim').innerText")
    assert tab.complaints() == []


def test_a_part_of_the_sample_can_be_downloaded(tab: Page, judged_set: Path, tmp_path: Path) -> None:
    tab.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(tmp_path), eventsEnabled=True)
    audit_mode(tab, judged_set).press("y", "n")
    with tab.expecting("Browser.downloadProgress", lambda progress: progress["state"] == "completed"):
        tab.click("#download")
    file = json.loads((tmp_path / "verdicts.json").read_text("utf-8"))
    assert [entry["verdict"] for entry in file["verdicts"]] == ["same", "different"]
    assert set(file["verdicts"][0]) == {"key", "part", "duplicate_of", "score", "stratum", "verdict"}
    assert {name: file[name] for name in ("format", "version", "seed")} == {
        "format": "dcgan_data verdicts",
        "version": 1,
        "seed": 0,
    }


def test_a_set_without_removals(
    browser: Page, tmp_path: Path, noise: np.ndarray, write_set: WriteSet
) -> None:
    browser.events.clear()
    write_set(tmp_path / "set", [[]] * 3, noise)
    write_report(tmp_path / "set")
    browser.open(address(tmp_path / "set"))
    assert browser.text("groups-note") == "None."
    audit_mode(browser, tmp_path / "set").press("y", "n", "u", "b")
    assert browser.text("done-title") == "Nothing was removed"
    assert browser.complaints() == []
