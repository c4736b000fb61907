"""Which files a pattern names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dcgan_data.errors import BadInput
from dcgan_data.sources.expand import expand_pattern, is_pattern, pattern_root


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def expanded(root: Path, pattern: str) -> list[str]:
    return [path.relative_to(root).as_posix() for path in expand_pattern(f"{root}/{pattern}")]


def message(pattern: str) -> str:
    with pytest.raises(BadInput) as caught:
        expand_pattern(pattern)
    return str(caught.value)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{a,b}.zip", ["a.zip", "b.zip"]),
        ("{b,a,a}.zip", ["a.zip", "b.zip"]),
        ("{008..011}.tar", ["008.tar", "009.tar", "010.tar", "011.tar"]),
        ("{8..11}.tar", ["10.tar", "11.tar", "8.tar", "9.tar"]),
        ("{11..8}.tar", ["10.tar", "11.tar", "8.tar", "9.tar"]),
        ("{008..12}.tar", ["008.tar", "009.tar", "010.tar", "011.tar", "012.tar"]),
        ("{0..10..5}.tar", ["0.tar", "10.tar", "5.tar"]),
        ("{9..0..4}.tar", ["1.tar", "5.tar", "9.tar"]),
        ("{0..0}.tar", ["0.tar"]),
        ("{x,y}/{0..1}.tar", ["x/0.tar", "x/1.tar", "y/0.tar", "y/1.tar"]),
        ("{a,b{1..2}}.tar", ["a.tar", "b1.tar", "b2.tar"]),
        ("a{,b}.tar", ["a.tar", "ab.tar"]),
        ("{a}{b}.tar", ["{a}{b}.tar"]),
        ("{a..c,d}{x}.tar", ["a..c{x}.tar", "d{x}.tar"]),
    ],
)
def test_braces(tmp_path: Path, pattern: str, names: list[str]) -> None:
    assert expanded(fill(tmp_path, *names), pattern) == names


def test_wildcards(tmp_path: Path) -> None:
    fill(
        tmp_path,
        "part-1.parquet",
        "part-2.parquet",
        "part-10.parquet",
        "other",
        ".part-3.parquet",
        "d/e/part-4",
    )
    assert expanded(tmp_path, "part-*.parquet") == ["part-1.parquet", "part-10.parquet", "part-2.parquet"]
    assert expanded(tmp_path, "part-[12].parquet") == ["part-1.parquet", "part-2.parquet"]
    assert expanded(tmp_path, "{part-?,oth*}*") == [
        "other",
        "part-1.parquet",
        "part-10.parquet",
        "part-2.parquet",
    ]
    assert expanded(tmp_path, "**/part-4") == ["d/e/part-4"]


def test_a_name_that_exists_is_no_wildcard(tmp_path: Path) -> None:
    fill(tmp_path, "a[1].tar", "a1.tar", "b[1].tar")
    assert expanded(tmp_path, "{a,b}[1].tar") == ["a[1].tar", "b[1].tar"]


def test_the_paths_are_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(fill(tmp_path, "x/0.tar", "1.tar"))
    assert expand_pattern("x/../{x/0,1}.tar") == [tmp_path / "1.tar", tmp_path / "x" / "0.tar"]
    assert pattern_root("x/../{x/0,1}.tar") == tmp_path


def test_the_first_missing_file_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "8.tar", "10.tar")
    assert message(f"{tmp_path}/{{8..11}}.tar") == (
        f"{tmp_path}/9.tar: no such file, one of 4 that {tmp_path}/{{8..11}}.tar names; "
        "fetch it, or name only those that are there"
    )


def test_wildcards_that_match_nothing(tmp_path: Path) -> None:
    assert message(f"{tmp_path}/*.tar") == f"{tmp_path}/*.tar: matches no file; expected one or more"


@pytest.mark.parametrize("braces", ["{0..1000000}", "{0..999999999999999999}", "{0..999}" * 3])
def test_too_many_names(braces: str) -> None:
    assert message(f"/x/{braces}.tar") == f"/x/{braces}.tar: names more than 1,000,000 files; name fewer"


def test_a_dangling_link_is_there(tmp_path: Path) -> None:
    """Whoever opens it will say that it leads nowhere."""
    (tmp_path / "0.tar").symlink_to("gone")
    assert expanded(tmp_path, "{0..0}.tar") == ["0.tar"]


def test_names_that_are_no_text(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.tar")
    assert expanded(fill(tmp_path, name), "*.tar") == [name]


def test_what_a_pattern_is() -> None:
    assert [is_pattern(text) for text in ("a/b.tar", "a*", "a?", "[a]", "{a}")] == [
        False,
        True,
        True,
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("pattern", "root"),
    [("/a/b/{0..9}.tar", "/a/b"), ("/a/b-*/x.tar", "/a"), ("/a/{b,c}/*.tar", "/a"), ("/*", "/")],
)
def test_the_directory_that_all_files_lie_below(pattern: str, root: str) -> None:
    assert pattern_root(pattern) == Path(root)
