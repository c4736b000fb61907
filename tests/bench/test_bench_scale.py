"""``bench scale``: the synthetic LSUN, its truth, and the measured de-duplication, all in small."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest

from dcgan_data.bench.scale import measuring
from dcgan_data.bench.scale.building import collect_photos, make_records
from dcgan_data.bench.scale.composing import Composer, encode
from dcgan_data.bench.scale.measuring import ScaleResult, ScaleSettings, bench_scale
from dcgan_data.bench.scale.table import scale_text
from dcgan_data.bench.scale.truth import Truth, TruthScore, draw_truth, record_keys, score_set
from dcgan_data.bench.scale.watching import StageClock, Watcher
from dcgan_data.demo import make_demo_lmdb
from dcgan_data.errors import BadInput, BadRequest
from dcgan_data.recipe import Recipe, recipe_from_dict
from dcgan_data.reporter import SilentReporter

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("psutil") is None and not os.environ.get("CI"),  # there it must not be absent
    reason="needs the extra bench",
)
QUICK = recipe_from_dict({"image": {"size": 32}, "autoencoder": {"max_updates": 40, "evaluate_every": 20}})


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photos") / "lsun"
    make_demo_lmdb(path, count=24, copy_share=0.0)
    return path


@pytest.fixture(scope="module")
def photos(source: Path) -> Path:
    assert collect_photos(source, source.parent / "photos.npy") == 24
    return source.parent / "photos.npy"


def records_of(database: Path) -> Iterator[tuple[bytes, bytes]]:
    with lmdb.open(str(database), readonly=True, lock=False) as environment, environment.begin() as reading:
        yield from reading.cursor()


def test_pictures_are_seeded_and_differ(photos: Path) -> None:
    stored = np.load(photos)
    one, again, other = Composer(stored, 1), Composer(stored, 1), Composer(stored, 2)
    assert np.array_equal(one.draw(5), again.draw(5))
    small = [cv2.resize(composer.draw(n), (32, 32)) for composer in (one, other) for n in range(12)]
    assert all(min(picture.shape[:2]) == 256 for picture in map(one.draw, range(12)))
    differences = [np.abs(a.astype(int) - b).mean() for n, a in enumerate(small) for b in small[n + 1 :]]
    assert min(differences) > 8


def test_one_picture_in_twenty_is_webp(photos: Path) -> None:
    picture = Composer(np.load(photos), 0).draw(0)
    heads = [encode(picture, number)[:4] for number in range(40)]
    assert heads.count(b"RIFF") == 2
    assert sum(head[:2] == b"\xff\xd8" for head in heads) == 38


def test_truth_has_its_share_of_copies_and_favourites() -> None:
    truth = draw_truth(20_000, 3)
    shown, sizes = np.unique(truth.original, return_counts=True)
    assert np.array_equal(truth.original[shown], shown)  # originals show themselves: no chains
    assert 0.09 < truth.removable / 20_000 < 0.11
    assert sizes.max() > 30
    assert np.array_equal(truth.original, draw_truth(20_000, 3).original)


def test_keys_are_those_of_lsun_and_ascend() -> None:
    keys = record_keys(5000, 1)
    assert {len(key) for key in keys.tolist()} == {40}
    assert np.all(keys[1:] > keys[:-1])


def test_records_do_not_depend_on_the_block(photos: Path) -> None:
    originals = draw_truth(40, 0).original
    originals[[7, 9, 30]] = 2  # whichever way these copies are made
    _, whole = make_records(photos, 0, originals, 0)
    _, part = make_records(photos, 0, originals[20:], 20)
    assert whole[20:] == part
    assert len({whole[n] for n in (2, 7, 9, 30)}) > 1


def test_too_few_photos(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(cv2.imencode(".png", np.zeros((40, 40, 3), np.uint8))[1].tobytes())
    (tmp_path / "b.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match=r"1 readable photos; at least 2 are needed"):
        collect_photos(tmp_path, tmp_path / "photos.npy")


@pytest.fixture(scope="module")
def measured(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ScaleResult]:
    work = tmp_path_factory.mktemp("work")
    settings = ScaleSettings((240, 120), work, source, workers=2, recipe=QUICK, keep=True)
    return work / "bench-scale", bench_scale(settings, SilentReporter())


def test_a_whole_measurement(measured: tuple[Path, ScaleResult]) -> None:
    work, result = measured
    assert [one.images for one in result.sets] == [120, 240]
    for one in result.sets:
        stages = [line.stage for line in one.stages]
        assert stages == ["open", "decode", "fit", "encode", "search", "decide", "write", "report", "all"]
        assert one.score.found >= 0.9 * one.score.planted
        assert one.score.wrong == 0
        assert one.stages[-1].main_mb > 50
        assert one.stages[-1].written_mb > 0.3
        assert len(list(records_of(work / f"lmdb-{one.images}"))) == one.images
    assert set(result.exponents) == set(stages)
    text = scale_text(result)
    assert "240 images" in text
    assert "time grows like N to the power of: open" in text


def test_scores_are_against_the_truth(measured: tuple[Path, ScaleResult]) -> None:
    """With another truth the same removals are found to be wrong."""
    keys = record_keys(120, 0)
    right = score_set(measured[0] / "set-120", draw_truth(120, 0), keys)
    wrong = score_set(measured[0] / "set-120", Truth(np.arange(120)), keys)
    assert right.found > 5
    assert right.wrong == 0
    assert (wrong.planted, wrong.found, wrong.wrong) == (0, 0, right.found)


def test_a_kept_lmdb_is_used_again(
    measured: tuple[Path, ScaleResult], source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, result = measured
    before = (work / "lmdb-120" / "data.mdb").stat().st_mtime_ns
    monkeypatch.setattr(measuring, "_run_watched", lambda job, images, reporter: [])
    monkeypatch.setattr(measuring, "score_set", lambda out, truth, keys: TruthScore(0, 0, 0))
    again = bench_scale(ScaleSettings((120,), work.parent, source, keep=True), SilentReporter())
    assert again.sets[0].build_seconds == result.sets[0].build_seconds
    assert (work / "lmdb-120" / "data.mdb").stat().st_mtime_ns == before
    bench_scale(
        ScaleSettings((120,), work.parent, source, recipe=Recipe(seed=1), keep=True), SilentReporter()
    )
    assert (work / "lmdb-120" / "data.mdb").stat().st_mtime_ns != before


def test_what_is_not_ours_is_left_alone(source: Path, tmp_path: Path) -> None:
    mine = tmp_path / "bench-scale" / "thesis.tex"
    mine.parent.mkdir()
    mine.write_text("mine")
    with pytest.raises(BadRequest, match=r"holds thesis.tex, which is not of this command; choose another"):
        bench_scale(ScaleSettings((120,), tmp_path, source), SilentReporter())
    assert mine.read_text() == "mine"


def test_what_an_earlier_run_has_kept_stays(tmp_path: Path) -> None:
    kept = tmp_path / "bench-scale" / "lmdb-1000" / "data.mdb"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"kept")
    with pytest.raises(BadInput, match="no such file"):
        bench_scale(ScaleSettings((120,), tmp_path, tmp_path / "nowhere"), SilentReporter())
    assert kept.read_bytes() == b"kept"


def test_nothing_is_left_without_keep(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        assert len(np.load(tmp_path / "bench-scale" / "photos.npy")) == 24
        raise BadInput("no more")

    monkeypatch.setattr(measuring, "_measure", fail)
    with pytest.raises(BadInput, match="no more"):
        bench_scale(ScaleSettings((100,), tmp_path, source), SilentReporter())
    assert list(tmp_path.iterdir()) == []


def test_what_fails_is_told(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "free_bytes", lambda path: 1000)
    with pytest.raises(BadRequest, match=r"200 images need about 9,000,000 bytes, 1,000 are free; make room"):
        bench_scale(ScaleSettings((200,), tmp_path, source), SilentReporter())
    kept = tmp_path / "bench-scale" / "lmdb-200" / "data.mdb"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(bytes(3_000_000))
    with pytest.raises(BadRequest, match=r"200 images need about 6,000,000 bytes"):
        bench_scale(ScaleSettings((200,), tmp_path, source), SilentReporter())
    with pytest.raises(BadRequest, match="--images 10: expected 100 or more"):
        ScaleSettings((10,), tmp_path)


def test_the_watcher_sees_the_memory_of_descendants() -> None:
    """A child of a child holds 150 MB, and says when it has them; the block's end looks once more."""
    inner = (
        "import os, sys; block = os.urandom(150_000_000); print('ready', flush=True); sys.stdin.readline()"
    )
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    with subprocess.Popen(
        [sys.executable, "-c", outer], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin
        assert process.stdout
        with Watcher(process.pid, "stage") as watcher:
            process.stdout.readline()
        process.stdin.close()
    use = watcher.use["stage"]
    assert use.all_mb > 140
    assert use.peaks_mb[process.pid] < 60
    assert max(use.peaks_mb.values()) > 140


def test_the_clock_adds_up_stages_of_one_name(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 1.0, 3.0, 3.5, 3.5])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    clock = StageClock()
    for stage in ("a", "b", "a", "", ""):
        clock.begin(stage)
    assert clock.seconds() == {"a": 1.5, "b": 2.0, "": 0.0}
