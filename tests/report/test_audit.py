"""Verdicts in, exact bounds out: what is refused, what is computed, and what the report then shows."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dcgan_data.audit import audit
from dcgan_data.errors import BadInput
from dcgan_data.formats.audit_file import read_audit, write_audit
from dcgan_data.formats.dataset import DatasetInfo, read_info
from dcgan_data.formats.manifest import MANIFEST_SCHEMA
from dcgan_data.report import write_report

WriteSet = Callable[..., DatasetInfo]
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture(scope="module")
def big_set(tmp_path_factory: pytest.TempPathFactory, write_set: WriteSet, noise: np.ndarray) -> Path:
    """900 removals: 600 with scores about 0.95, 300 about 0.72. Tests only read it."""
    out = tmp_path_factory.mktemp("audited") / "set"
    write_set(out, [[0.95, 0.95]] * 300 + [[0.72]] * 300, noise)
    write_report(out)
    return out


@pytest.fixture
def out(tmp_path: Path, big_set: Path) -> Path:
    return Path(shutil.copytree(big_set, tmp_path / "set"))


def sample_of(out: Path) -> dict[str, Any]:
    """What a person who judges every pair to be the same would download."""
    text = (out / "report" / "index.html").read_text("utf-8")
    data = json.loads(text.split('id="audit-data">')[1].split("</script>")[0])
    verdicts = [
        {name: pair[name] for name in ("key", "part", "duplicate_of", "score", "stratum")}
        | {"verdict": "same"}
        for pair in data["pairs"]
    ]
    return {
        "format": "dcgan_data verdicts",
        "version": 1,
        "content_sha256": data["content_sha256"],
        "seed": data["seed"],
        "verdicts": verdicts,
    }


def save(path: Path, file: Any) -> Path:
    path.write_text(json.dumps(file), "utf-8")
    return path


def test_none_wrong_of_three_hundred(out: Path, tmp_path: Path) -> None:
    result = audit(out, save(tmp_path / "verdicts.json", sample_of(out)))
    line = result.overall
    assert (line.removals, line.judged, line.false_positives, line.rate) == (900, 300, 0, 0.0)
    assert line.upper_bound == pytest.approx(1 - 0.05 ** (1 / 300))  # under 1 in 100
    assert line.interval == pytest.approx((0, 1 - 0.025 ** (1 / 300)))
    assert [(band.band, band.removals, band.judged) for band in result.bands if band.judged] == [
        ("0.70-0.75", 300, 100),
        ("0.95-1.00", 600, 200),
    ]
    assert result.bands[1].upper_bound is None
    assert result.notes == () and result.wrong == ()
    page = (out / "report" / "index.html").read_text("utf-8")
    assert "<b>0 of 300 wrong:</b> at most 0.99% of removals, 95&nbsp;% exact" in page
    assert "<td>0.70-0.75</td><td>300</td><td>100</td><td>0</td><td>0.00%</td><td>2.95%</td>" in page


def test_wrong_ones_are_counted_by_band(out: Path, tmp_path: Path) -> None:
    file = sample_of(out)
    low = [entry for entry in file["verdicts"] if entry["score"] < 0.8]
    for entry in low[:4]:
        entry["verdict"] = "different"
    result = audit(out, save(tmp_path / "verdicts.json", file))
    assert (result.overall.false_positives, result.bands[0].false_positives) == (4, 4)
    assert result.bands[0].rate == 0.04
    # Clopper-Pearson for 4 of 100 and 4 of 300: published tables' values.
    assert result.bands[0].interval == pytest.approx((0.011004, 0.099258), abs=1e-5)
    assert result.bands[0].upper_bound == pytest.approx(0.089191, abs=1e-5)
    assert [verdict.key for verdict in result.wrong] == [entry["key"] for entry in low[:4]]
    assert read_audit(out) == result
    assert f"<td>{low[0]['key']}</td>" in (out / "report" / "index.html").read_text("utf-8")


def test_all_wrong(out: Path, tmp_path: Path) -> None:
    file = sample_of(out)
    for entry in file["verdicts"]:
        entry["verdict"] = "different"
    line = audit(out, save(tmp_path / "verdicts.json", file)).overall
    assert (line.rate, line.upper_bound) == (1.0, 1.0)


def test_a_beginning_of_the_sample_is_said_to_be_one(out: Path, tmp_path: Path) -> None:
    file = sample_of(out)
    file["verdicts"] = file["verdicts"][:120]
    result = audit(out, save(tmp_path / "verdicts.json", file))
    assert result.overall.upper_bound == pytest.approx(1 - 0.05 ** (1 / 120))
    assert result.notes == (
        "Only the first 120 of 300 pairs were judged. They are a random sample too; the bounds hold unless "
        "judging was stopped because of what was seen.",
    )


def test_a_choice_of_pairs_is_said_to_be_one(out: Path, tmp_path: Path) -> None:
    file = sample_of(out)
    file["verdicts"] = file["verdicts"][100:]
    result = audit(out, save(tmp_path / "verdicts.json", file))
    assert len(result.notes) == 1 and "the bounds hold only if nobody chose the pairs" in result.notes[0]
    assert "nobody chose the pairs" in (out / "report" / "index.html").read_text("utf-8")


def test_strata_too_small_for_the_sample_are_said(
    tmp_path: Path, write_set: WriteSet, noise: np.ndarray
) -> None:
    out = tmp_path / "set"
    write_set(out, [[0.95]] * 999 + [[0.72]], noise)
    write_report(out)
    result = audit(out, save(tmp_path / "verdicts.json", sample_of(out)))
    assert result.notes == ("1 removals (0.10%) are in strata too small to be in the sample.",)


REFUSED: list[tuple[Change, str]] = [
    (lambda file: file.update(format="other"), "not a file of this program's verdicts"),
    (lambda file: file.update(version=2), "version 2 of verdicts, this program reads 1"),
    (lambda file: file.update(content_sha256="0" * 64), "judges another set or an earlier decision"),
    (lambda file: file.pop("seed"), "no file of verdicts (seed is missing)"),
    (lambda file: file.update(seed="0"), "no file of verdicts (seed is no int)"),
    (lambda file: file["verdicts"].clear(), "holds no verdicts; judge the pairs"),
    (lambda file: file["verdicts"].append(file["verdicts"][0]), "a second time"),
    (lambda file: file["verdicts"].insert(2, 7), "verdict 3 cannot be used"),
    (
        lambda file: file["verdicts"][1].update(verdict="maybe"),
        "verdict 2 cannot be used (verdict is 'maybe'",
    ),
    (lambda file: file["verdicts"][1].pop("key"), "verdict 2 cannot be used (key is missing)"),
    (lambda file: file["verdicts"][5].update(key="nobody"), "judges 'nobody', which is no record of"),
    (lambda file: file["verdicts"][5].update(part=1), "part 1, which is no record of"),
    (lambda file: file["verdicts"][5].update(key="image 000000"), "was not removed from"),
    (
        lambda file: file["verdicts"][5].update(duplicate_of="image 0"),
        "copy of 'image 0', but it was removed",
    ),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_refused_verdicts(big_set: Path, tmp_path: Path, change: Change, message: str) -> None:
    file = sample_of(big_set)
    change(file)
    with pytest.raises(BadInput) as error:
        audit(big_set, save(tmp_path / "verdicts.json", file))
    assert message in str(error.value)
    assert str(tmp_path / "verdicts.json") in str(error.value)
    assert not (big_set / "report" / "audit.json").exists()


@pytest.mark.parametrize("text", ["", "[", "[]", "null", "\x00"])
def test_files_that_are_no_verdicts(big_set: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "verdicts.json").write_text(text)
    with pytest.raises(BadInput, match=r"verdicts\.json: not a"):
        audit(big_set, tmp_path / "verdicts.json")
    with pytest.raises(BadInput, match=r"nothing\.json: No such file"):
        audit(big_set, tmp_path / "nothing.json")


def test_an_audit_of_an_earlier_decision_is_not_shown(out: Path, tmp_path: Path) -> None:
    result = audit(out, save(tmp_path / "verdicts.json", sample_of(out)))
    write_audit(out, replace(result, content_sha256="0" * 64))
    page = write_report(out).read_text("utf-8")
    assert "belongs to an earlier decision and is not shown" in page
    assert "of 300 wrong" not in page
    (out / "report" / "audit.json").write_text("{}")
    assert "The stored audit cannot be used" in write_report(out).read_text("utf-8")


def test_several_images_of_one_record(tmp_path: Path, write_set: WriteSet, noise: np.ndarray) -> None:
    """Faces: rows are told apart by key and part."""
    out = tmp_path / "set"
    write_set(out, [[0.8, 0.9]], noise, key=lambda number: "photo", part=lambda number: number)
    write_report(out)
    file = sample_of(out)
    assert sorted(entry["part"] for entry in file["verdicts"]) == [1, 2]
    file["verdicts"][0]["verdict"] = "different"
    result = audit(out, save(tmp_path / "verdicts.json", file))
    assert result.wrong[0].part == file["verdicts"][0]["part"]
    assert "part" in MANIFEST_SCHEMA.names and read_info(out).counts.duplicate == 2
