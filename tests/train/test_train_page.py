"""The page of a run: whole for every state of its files, escaped, bounded, and true to them."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import json
import math
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dcgan_data.errors import BadInput
from dcgan_data.train import history
from dcgan_data.train.curves import HEIGHT, WIDTH, Chart, Curve, Timeline, draw_chart
from dcgan_data.train.history import read_events, read_history
from dcgan_data.train.page import write_page
from dcgan_data.train.pictures import MOST_GRIDS, grids_in, pictures_of
from dcgan_data.train.rundir import RunDirectory

MakeRun = Callable[..., RunDirectory]
EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>'\"&"


class Page(HTMLParser):
    """What a browser would load and run, and what a person reads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.references: list[str] = []
        self.handlers: list[str] = []
        self.inline: dict[str, str] = {}
        self.words = ""
        self._element = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attributes if name in ("src", "href", "srcset")]
        self.handlers += [name for name, _ in attributes if name.startswith("on") or name == "style"]
        self._element = dict(attributes).get("id") or tag

    def handle_data(self, data: str) -> None:
        if self._element in ("style", "script", "grids-data"):
            self.inline[self._element] = self.inline.get(self._element, "") + data
        else:
            self.words += data

    def handle_endtag(self, tag: str) -> None:
        self._element = ""


def read(run: RunDirectory) -> Page:
    return Page(write_page(run).read_text("utf-8"))


def line(step: int, **values: Any) -> dict[str, Any]:
    measured = {"loss_d": 0.5, "loss_g": 2.0, "p_real": 0.7, "p_fake": 0.2}
    return {
        "step": step,
        "epoch": 1 + step // 10,
        **measured,
        "images_per_s": 1234.5,
        "seconds": 75.0,
        **values,
    }


def tile(run: RunDirectory, name: str) -> str:
    label = re.escape(html.escape(name))
    found = re.search(rf"<b>([^<]*)</b><span>{label}</span>", write_page(run).read_text("utf-8"))
    assert found, f"no tile {name!r}"
    return found[1]


def charts(run: RunDirectory) -> dict[str, str]:
    """The page's figures by their title."""
    figures = re.findall(r"<figure.*?</figure>", write_page(run).read_text("utf-8"), re.DOTALL)
    return {re.search("<b>(.*?)</b>", figure)[1]: figure for figure in figures if "<svg" in figure}


def grid_words(run: RunDirectory) -> list[str]:
    return [grid["words"] for grid in json.loads(read(run).inline["grids-data"])]


def test_where_the_run_stands(make_run: MakeRun) -> None:
    run = make_run([line(10), line(25, loss_d=0.123456, loss_g=None)], [10])
    assert write_page(run) == run.page
    assert tile(run, "of 50 steps") == "25"
    assert tile(run, "of 5 epochs") == "2.50"
    assert tile(run, "discriminator's loss") == "0.123"
    assert tile(run, "generator's loss") == "2"
    assert tile(run, "images a second") == "1,234"
    assert tile(run, "time") == "1 min 15 s"
    assert tile(run, "preset") == "fast"
    assert tile(run, "width") == "128"
    assert tile(run, "image size") == "32x32 px"
    assert tile(run, "images, 2 held out") == "41"
    assert "<title>run - dcgan_data</title>" in run.page.read_text("utf-8")
    assert "50%" in read(run).words
    assert not list(run.path.glob("*.tmp"))


def test_the_rate_is_not_that_of_a_line_with_a_drawing(make_run: MakeRun) -> None:
    rates = [10.0] * 30 + [900.0] * 15 + [50.0]
    assert (
        tile(make_run([line(at, images_per_s=rate) for at, rate in enumerate(rates)]), "images a second")
        == "900"
    )


def test_one_value_is_not_looked_at_through_a_microscope() -> None:
    low, high = (float(end) for end in re.search(r'data-y="(\S+) (\S+) ', chart_of([20.0])).groups())
    assert (low, high) == pytest.approx((19.6, 20.4))


def test_a_run_is_followed_until_it_has_ended(make_run: MakeRun) -> None:
    going, done = (write_page(make_run([line(step)], name=f"{step}")).read_text("utf-8") for step in (49, 50))
    assert "reload every 15 s" in going and ">finished<" not in going
    assert "reload every 15 s" not in done and ">finished<" in done


def test_all_settings_are_listed(make_run: MakeRun) -> None:
    run = make_run()
    words = read(run).words
    for name in (*run.read().config, "set_sha256", "torch", "device"):
        assert name in words
    text = run.page.read_text("utf-8")
    assert "<th>alternate</th><td>no</td>" in text
    assert "<th>sample_every</th><td>-</td>" in text
    assert "<th>torch</th><td>2.99</td>" in text


def test_the_same_files_make_the_same_bytes(make_run: MakeRun) -> None:
    run = make_run([line(step) for step in range(1, 51)], [10, 50])
    assert write_page(run).read_bytes() == write_page(run).read_bytes()


def test_before_the_first_line_and_grid(make_run: MakeRun) -> None:
    run = make_run()
    shutil.rmtree(run.samples)
    assert tile(run, "of 50 steps") == "0"
    assert "No grid yet." in read(run).words
    assert charts(run) == {}
    assert grid_words(run) == []
    assert "warnings" not in read(run).tags and "section" not in read(run).tags


@pytest.mark.parametrize(
    "damage", [b"", b"\n", b'{"step": 20, "loss_', b"[1]\n", b'{"step": "20"}\n', b"\xff\n"]
)
def test_damaged_lines_are_passed_over(make_run: MakeRun, damage: bytes) -> None:
    run = make_run([line(10)])
    whole = write_page(run).read_bytes()
    run.metrics.write_bytes(run.metrics.read_bytes() + damage)
    assert write_page(run).read_bytes() == whole
    run.metrics.write_bytes(damage)
    assert tile(run, "of 50 steps") == "0"


def test_unknown_losses_are_gaps(make_run: MakeRun) -> None:
    run = make_run([line(1, loss_d=None), line(2, loss_g=None, loss_d=0.25), line(3, loss_d=True)])
    run.metrics.write_text(run.metrics.read_text() + '{"step": 4, "loss_d": NaN, "loss_g": Infinity}\n')
    found = read_history(run.metrics)
    assert found.step == 4
    assert [values.tolist() for values in found.series("loss_d")] == [[2], [0.25]]
    assert [values.tolist() for values in found.series("loss_g")] == [[1, 3], [2.0, 2.0]]
    assert found.latest("never") is None
    assert "nan" not in charts(run)["Losses"]


def test_a_run_without_a_record_is_bad_input_and_keeps_its_page(make_run: MakeRun) -> None:
    run = make_run()
    before = write_page(run).read_bytes()
    run.config.write_text("{")
    with pytest.raises(BadInput, match=r"config\.json: damaged"):
        write_page(run)
    run.config.unlink()
    with pytest.raises(BadInput, match="not a run directory"):
        write_page(run)
    assert run.page.read_bytes() == before


def test_nothing_else_is_loaded_and_only_this_script_runs(make_run: MakeRun) -> None:
    run = make_run([line(10)], [10, 20])
    page = read(run)
    assert page.references and all(
        address.startswith("data:image/png;base64,") for address in page.references
    )
    assert page.handlers == []
    policy = re.search('Content-Security-Policy" content="([^"]*)"', run.page.read_text("utf-8"))
    assert policy
    directives = dict(part.strip().split(" ", 1) for part in policy[1].split(";"))
    assert directives["default-src"] == "'none'" and directives["img-src"] == "data:"
    for directive, element in (("style-src", "style"), ("script-src", "script")):
        digest = base64.b64encode(hashlib.sha256(page.inline[element].encode()).digest()).decode()
        assert directives[directive] == f"'sha256-{digest}'"


def test_what_comes_from_files_is_text(make_run: MakeRun) -> None:
    plain = read(make_run([line(10)], name="plain"))
    run = make_run([line(10)], name=EVIL.replace("/", "_"), libraries={EVIL: EVIL}, machine={EVIL: EVIL})
    record = run.read()
    config = {**record.config, "prepared": EVIL, "preset": EVIL, "run_dir": EVIL}
    run = make_run([line(10)], name="evil", config=config, libraries={EVIL: EVIL}, machine={EVIL: EVIL})
    run.append_event(5, EVIL, EVIL)
    page = read(run)
    assert page.handlers == [] and page.references == []
    assert page.tags.count("script") == plain.tags.count("script")
    assert page.tags.count("img") == plain.tags.count("img")
    assert page.words.count(EVIL) >= 6


def test_a_name_that_is_markup(make_run: MakeRun) -> None:
    run = make_run(name="<b>'&")
    assert read(run).words.count("<b>'&") >= 2


def test_a_path_that_is_no_text(make_run: MakeRun) -> None:
    config = {**make_run(name="first").read().config, "prepared": "/data/caf\udce9"}
    assert "/data/caf\\udce9" in read(make_run(name="second", config=config)).words


def test_warnings_come_first_and_the_newest_of_them_first(make_run: MakeRun) -> None:
    run = make_run([line(10)])
    run.append_event(2, "resumed", "on from step 2")
    assert "section" not in read(run).tags
    for step in range(1, 9):
        run.append_event(step, "collapse", f"all samples are alike {step}")
    run.events.write_text(run.events.read_text() + '{"step": 9, "kind')
    text = write_page(run).read_text("utf-8")
    assert (
        text.index("all samples are alike 8") < text.index("all samples are alike 1") < text.index('"tiles"')
    )
    assert "<b>step 8, collapse:</b> all samples are alike 8" in text
    assert "<summary>3 earlier warnings</summary>" in text
    assert "on from step 2" not in text
    assert "<title>step 8: collapse</title>" in charts(run)["Losses"]


def test_of_many_events_the_newest_are_read(make_run: MakeRun) -> None:
    run = make_run()
    run.events.write_text("".join(f'{{"step": {step}, "kind": "saturated"}}\n' for step in range(20_000)))
    found = read_events(run.events)
    assert [event.step for event in found] == list(range(20_000 - len(found), 20_000))
    assert 1000 < len(found) < 20_000
    assert write_page(run).stat().st_size < 100_000


def test_scores_are_drawn_where_they_were_measured(make_run: MakeRun) -> None:
    run = make_run([line(10), line(20)])
    assert list(charts(run)) == ["Losses", "Taken for real"]
    run = make_run([line(10, nnd_1000=9.5, spread=0.8), line(20, nnd_1000=9.25), line(30)], name="scored")
    found = charts(run)
    assert list(found) == ["Losses", "Taken for real", "Held-out images to nearest sample", "Spread"]
    assert re.findall(r"(of [\d,]+) <output>(.*?)<", found["Held-out images to nearest sample"]) == [
        ("of 1,000", "9.25")
    ]
    assert "<output>0.8</output>" in found["Spread"]


def test_where_training_was_taken_up_earlier_the_later_lines_hold(make_run: MakeRun) -> None:
    run = make_run(
        [line(step, loss_d=1.0) for step in (1, 2, 3, 4)] + [line(3, loss_d=2.0), line(5, loss_d=2.0)]
    )
    steps, values = read_history(run.metrics).series("loss_d")
    assert steps.tolist() == [1, 2, 3, 5]
    assert values.tolist() == [1.0, 1.0, 2.0, 2.0]


def test_a_long_log_is_thinned_but_for_its_scores_and_its_end(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(total_steps=100_000)
    scored = {7_010: {"nnd_1000": 9.0}, 40_010: {"nnd_100000": 8.0, "spread": 0.5}}
    with run.metrics.open("w") as file:
        for step in range(10, 50_010, 10):
            file.write(json.dumps(line(step, **scored.get(step, {}))) + "\n")
        file.write('{"step": 50010, "loss_d"')
    whole = read_history(run.metrics)
    assert whole.steps.tolist() == list(range(10, 50_010, 10))
    monkeypatch.setattr(history, "MOST_LINES", 200)
    found = read_history(run.metrics)
    assert 150 < len(found.steps) < 250
    assert np.diff(found.steps).max() <= 2 * 50_000 / 200
    assert (found.steps[0], found.step) == (10, 50_000)
    assert found.series("nnd_1000")[0].tolist() == [7_010]
    assert found.series("nnd_100000")[0].tolist() == [40_010]


def test_a_page_of_many_lines_is_small(make_run: MakeRun) -> None:
    run = make_run([line(step, loss_d=step % 7 / 7) for step in range(1, 5001)], total_steps=5000)
    assert write_page(run).stat().st_size < 150_000


def test_grids_by_step_with_the_last_one_in_the_page(make_run: MakeRun) -> None:
    run = make_run([line(10)], [5, 10, 999_999, 1_000_000], total_steps=2_000_000)
    (run.samples / "000020.png.tmp").touch()
    (run.samples / "mine.png").touch()
    assert grid_words(run) == [
        "step 5, 0.50 epochs",
        "step 10, 1 epoch",
        "step 999,999, 99,999.90 epochs",
        "step 1,000,000, 100,000 epochs",
    ]
    page = read(run)
    data = json.loads(page.inline["grids-data"])
    assert [bool(grid["address"]) for grid in data] == [True, True, True, False]
    assert page.references == [address_of(run.grid(1_000_000))]
    assert data[0]["address"] == address_of(run.grid(5))
    assert 'width="512"' in run.page.read_text("utf-8")  # of 64 pixels


def address_of(png: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(png.read_bytes()).decode()}"


def test_of_many_grids_some_are_shown_evenly(make_run: MakeRun) -> None:
    run = make_run(grids=range(10, 1810, 10))
    page = read(run)
    shown = [int(words.split(",")[0].removeprefix("step ")) for words in grid_words(run)[:20]]
    assert len(grid_words(run)) == MOST_GRIDS == 60
    assert shown[0] == 10 and set(np.diff(shown)) <= {30, 40}
    assert "step 1,800," in page.words
    assert "60 of 180 grids; all are in samples/." in page.words


def write_noise(samples: Path, side: int, steps: range) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), np.uint8)
    for step in steps:
        Image.fromarray(noise).save(samples / f"{step:06d}.png", compress_level=0)


def jpeg_of(address: str) -> Image.Image:
    kind, _, data = address.partition(";base64,")
    assert kind == "data:image/jpeg"
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_pictures_keep_to_the_budget(tmp_path: Path) -> None:
    write_noise(tmp_path, 64, range(1, 8))
    one = len(address_of(tmp_path / "000001.png"))
    as_they_are = pictures_of(grids_in(tmp_path), 7 * one)
    assert [picture.address for picture in as_they_are] == [address_of(tmp_path / "000001.png")] * 7
    fewer = pictures_of(grids_in(tmp_path), 7 * one // 2)
    assert (fewer[0].step, fewer[-1].step) == (1, 7) and 2 < len(fewer) < 7
    assert sum(len(picture.address) for picture in fewer) <= 7 * one // 2
    assert jpeg_of(fewer[1].address).size == (64, 64)


def test_grids_in_between_may_be_larger_than_both_ends(tmp_path: Path) -> None:
    write_noise(tmp_path, 64, range(1, 31))
    for step in (1, 30):
        Image.new("RGB", (64, 64)).save(tmp_path / f"{step:06d}.png")
    pictures = pictures_of(grids_in(tmp_path), 100_000)
    assert 2 < len(pictures) < 30 and (pictures[0].step, pictures[-1].step) == (1, 30)
    assert sum(len(picture.address) for picture in pictures) <= 100_000


def test_a_huge_grid_is_made_smaller(tmp_path: Path) -> None:
    write_noise(tmp_path, 1600, range(1, 2))
    (picture,) = pictures_of(grids_in(tmp_path), budget=6_000_000)
    assert (picture.width, jpeg_of(picture.address).width) == (1600, 1536)
    assert len(picture.address) < 6_000_000


def test_two_pictures_are_shown_at_least(make_run: MakeRun) -> None:
    run = make_run(grids=[1, 2, 3])
    assert [picture.step for picture in pictures_of(grids_in(run.samples), budget=1)] == [1, 3]


@pytest.mark.parametrize("budget", [1_000_000, 3000])
def test_a_damaged_grid_is_passed_over(make_run: MakeRun, budget: int) -> None:
    run = make_run(grids=[1, 2, 3])
    run.grid(2).write_bytes(run.grid(2).read_bytes()[:20])
    (run.samples / "000004.png").write_bytes(b"no picture" * 1000)
    pictures = pictures_of(grids_in(run.samples), budget)
    assert pictures and {picture.step for picture in pictures} <= {1, 3}


def chart_of(values: list[float], bounds: tuple[float | None, float | None] = (None, None)) -> str:
    curve = Curve("a & b", np.arange(1, len(values) + 1), np.array(values))
    return draw_chart(Chart("Losses", "nats", (curve,), bounds), Timeline(max(len(values), 1), 10))


def corners(svg: str) -> list[list[float]]:
    path = re.search('polyline class="[^"]*" points="([^"]*)"', svg)
    assert path
    return [[float(number) for number in point.split(",")] for point in path[1].split()]


def test_few_values_are_dots_on_their_line() -> None:
    svg = chart_of([0.0, 1.0, 0.5], bounds=(0.0, 1.0))
    left, right = (float(x) for x in re.search(r'data-x="\S+ \S+ (\S+) (\S+)"', svg).groups())
    base, top = (float(y) for y in re.search(r'data-y="0 1 (\S+) (\S+)"', svg).groups())
    places = [left + (right - left) * step / 3 for step in (1, 2, 3)]
    expected = [[places[0], base], [places[1], top], [places[2], (base + top) / 2]]
    np.testing.assert_allclose(corners(svg), expected, atol=0.06)
    assert 'class="points curve-0 few"' in svg
    assert "a &amp; b <output>0.5</output>" in svg


def test_many_values_are_smoothed() -> None:
    rng = np.random.default_rng(0)
    values = 5 + rng.normal(0, 1, 2000)
    curve = Curve("noise", np.arange(2000), values)
    line = curve.line()
    assert line.std() < 0.3 < values.std()
    assert line[1000] == pytest.approx(values[980:1021].mean())
    assert (line[0], line[-1]) == pytest.approx((values[:21].mean(), values[-21:].mean()))
    svg = chart_of(values.tolist())
    assert len(corners(svg)) == 400
    assert svg.count("h0") == 800


def test_an_outlier_does_not_flatten_the_rest() -> None:
    values = [1.0 + step % 2 for step in range(300)]
    assert "extreme" not in chart_of(values)
    values[150] = 1e6
    svg = chart_of(values)
    assert "Some extreme points are outside." in svg
    assert re.search(r'data-y="0.9\d* 2.0\d* ', svg)
    assert svg.count("h0") == 299


@given(
    st.lists(st.floats(-1e9, 1e9, allow_subnormal=False), min_size=1, max_size=300),
    st.sampled_from([(None, None), (0.0, None), (0.0, 1.0)]),
)
def test_everything_lies_within_the_drawing(
    values: list[float], bounds: tuple[float | None, float | None]
) -> None:
    svg = chart_of(values, bounds)
    numbers = re.findall(r"M([\d.e+-]+|nan),([\d.e+-]+|nan)h0", svg)
    for x, y in [*((float(x), float(y)) for x, y in numbers), *corners(svg)]:
        assert 0 <= x <= WIDTH and 0 <= y <= HEIGHT and math.isfinite(x + y)


def test_axes_name_steps_and_epochs() -> None:
    curve = Curve("loss", np.array([50_000]), np.array([1.0]))
    svg = draw_chart(Chart("Losses", "nats", (curve,)), Timeline(50_000, 10_000))
    words = re.findall(r"<text[^>]*>([^<]*)</text>", svg)
    assert [word for word in words if word.endswith("k")] == ["10k", "20k", "30k", "40k", "50k"]
    assert words[-5:] == ["1", "2", "3", "4", "5"]
    assert words[:2] == ["step", "epoch"]
    assert 'aria-label="Losses, nats, by step"' in svg
