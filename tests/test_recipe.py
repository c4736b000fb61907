"""Recipes: strict, with messages that name the key, and every pipeline readable."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from dcgan_data import recipe
from dcgan_data.errors import BadRequest
from dcgan_data.recipe import Recipe, differing_keys, load_recipe, recipe_from_dict
from dcgan_data.sources import base

PIPELINES = sorted((Path(__file__).parents[1] / "pipelines").glob("*.toml"))


def message(values: dict[str, Any]) -> str:
    with pytest.raises(BadRequest) as caught:
        recipe_from_dict(values)
    return str(caught.value)


def write(tmp_path: Path, text: str, name: str = "recipe.toml") -> Path:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def test_defaults_and_round_trip() -> None:
    assert recipe_from_dict({}) == Recipe()
    assert recipe_from_dict(Recipe().as_dict()) == Recipe()
    changed = recipe_from_dict({"seed": 7, "image": {"size": 128}, "dedup": {"rule": "none"}})
    assert (changed.seed, changed.image.size, changed.dedup.rule) == (7, 128, "none")
    assert recipe_from_dict(changed.as_dict()) == changed


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Recipe().seed = 1  # type: ignore[misc]


def test_whole_numbers_are_numbers() -> None:
    found = recipe_from_dict({"dedup": {"min_contrast": 3}}).dedup.min_contrast
    assert (found, type(found)) == (3.0, float)


def test_a_list_of_numbers_comes_back_from_the_index() -> None:
    made = recipe_from_dict({"dedup": {"zooms": [0.9, 0.8]}})
    assert made.dedup.zooms == (0.9, 0.8)
    assert recipe_from_dict(made.as_dict()) == made
    assert recipe_from_dict({"dedup": {"zooms": []}}).dedup.zooms == ()


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_every_pipeline_can_be_read(path: Path) -> None:
    assert load_recipe(path).name == path.stem


def test_there_are_pipelines() -> None:
    assert {"lsun_bedroom", "demo"} <= {path.stem for path in PIPELINES}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"sead": 1}, "sead: unknown key; did you mean 'seed'? (known: name, seed, records_per_shard, "),
        (
            {"image": {"sise": 64}},
            "image.sise: unknown key; did you mean 'image.size'? (known: size, filter, ",
        ),
        ({"dedup": {"x": 1}}, "dedup.x: unknown key; did you mean 'dedup."),
        ({"image": 64}, "image: 64 is not a table; write [image]"),
        ({"image": {"size": "64"}}, "image.size: '64' is not of type int"),
        ({"image": {"size": 64.0}}, "image.size: 64.0 is not of type int"),
        ({"seed": True}, "seed: True is not of type int"),
        ({"autoencoder": {"standardise": 1}}, "autoencoder.standardise: 1 is not of type bool"),
        ({"autoencoder": {"dropout": "0.5"}}, "autoencoder.dropout: '0.5' is not of type float"),
        ({"name": 3}, "name: 3 is not of type str"),
        ({"dedup": {"mirror": 1}}, "dedup.mirror: 1 is not of type bool"),
        ({"dedup": {"zooms": 0.9}}, "dedup.zooms: 0.9 is not a list of numbers"),
        ({"dedup": {"zooms": ["0.9"]}}, "dedup.zooms: ['0.9'] is not a list of numbers"),
    ],
)
def test_wrong_keys_and_types(values: dict[str, Any], expected: str) -> None:
    assert message(values).startswith(expected)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"seed": -1}, "seed: -1 is not allowed; expected 0 to 4294967295"),
        ({"seed": 2**32}, "seed: 4294967296 is not allowed"),
        ({"records_per_shard": 0}, "records_per_shard: 0 is not allowed; expected 1 or more"),
        (
            {"source": {"limit": -1}},
            "source.limit: -1 is not allowed; expected 0 (all) or a number of records",
        ),
        ({"image": {"size": 48}}, "image.size: 48 is not allowed; expected one of (32, 64, 128, 256)"),
        (
            {"image": {"filter": "cubic"}},
            "image.filter: 'cubic' is not allowed; expected 'fast' or 'quality'",
        ),
        ({"image": {"max_pixels": 0}}, "image.max_pixels: 0 is not allowed"),
        ({"autoencoder": {"noise": "salt"}}, "autoencoder.noise: 'salt' is not allowed"),
        (
            {"autoencoder": {"noise_level": -0.1}},
            "autoencoder.noise_level: -0.1 is not allowed; expected 0 or",
        ),
        ({"autoencoder": {"noise_level": 1.0}}, "autoencoder.noise_level: 1.0 is not allowed; expected less"),
        ({"autoencoder": {"dropout": 1.0}}, "autoencoder.dropout: 1.0 is not allowed"),
        (
            {"autoencoder": {"holdout": 0.0}},
            "autoencoder.holdout: 0.0 is not allowed; expected between 0 and 1",
        ),
        ({"autoencoder": {"max_images": 0}}, "autoencoder.max_images: 0 is not allowed; expected 1 or more"),
        ({"autoencoder": {"batch_size": 0}}, "autoencoder.batch_size: 0 is not allowed"),
        ({"autoencoder": {"max_updates": 0}}, "autoencoder.max_updates: 0 is not allowed"),
        ({"autoencoder": {"evaluate_every": 0}}, "autoencoder.evaluate_every: 0 is not allowed"),
        ({"autoencoder": {"patience": 0}}, "autoencoder.patience: 0 is not allowed"),
        ({"autoencoder": {"learning_rate": 0.0}}, "autoencoder.learning_rate: 0.0 is not allowed"),
        (
            {"dedup": {"rule": "fuzzy"}},
            "dedup.rule: 'fuzzy' is not allowed; expected 'near', 'exact' or 'none'",
        ),
        (
            {"dedup": {"threshold": 0.49}},
            "dedup.threshold: 0.49 is not allowed; "
            "expected 0.5 to 1 (pairs that score less are not recorded)",
        ),
        ({"dedup": {"threshold": 1.01}}, "dedup.threshold: 1.01 is not allowed; expected 0.5 to 1"),
        ({"dedup": {"threshold": float("nan")}}, "dedup.threshold: nan is not allowed; expected 0.5 to 1"),
        (
            {"dedup": {"keep": "largest"}},
            "dedup.keep: 'largest' is not allowed; expected 'best', 'first' or FILE:COLUMN",
        ),
        ({"dedup": {"keep": ":score"}}, "dedup.keep: ':score' is not allowed; expected 'best', 'first' or"),
        ({"dedup": {"radius": 33}}, "dedup.radius: 33 is not allowed; expected 0 to 32 bits"),
        (
            {"dedup": {"zooms": [0.9, 1.0]}},
            "dedup.zooms: (0.9, 1.0) is not allowed; expected shares of the side, 0.7 to less than 1",
        ),
        ({"dedup": {"shift": 4.5}}, "dedup.shift: 4.5 is not allowed; expected 0 to 4 pixels"),
        ({"dedup": {"aspect": 0.9}}, "dedup.aspect: 0.9 is not allowed; expected 1 to 1.3"),
        ({"dedup": {"bands": 0}}, "dedup.bands: 0 is not allowed; expected 1 to 128"),
        ({"dedup": {"window": 0}}, "dedup.window: 0 is not allowed; expected 1 to 4096"),
        ({"dedup": {"max_candidates": 5000}}, "dedup.max_candidates: 5000 is not allowed; expected 1 to"),
        (
            {"autoencoder": {"inputs": "grey"}},
            "autoencoder.inputs: 'grey' is not allowed; expected 'luma' or",
        ),
        ({"dedup": {"min_contrast": -1.0}}, "dedup.min_contrast: -1.0 is not allowed; expected 0 or more"),
    ],
)
def test_wrong_values(values: dict[str, Any], expected: str) -> None:
    assert message(values).startswith(expected)


def test_strong_gaussian_noise_is_allowed() -> None:
    assert (
        recipe_from_dict({"autoencoder": {"noise": "gauss", "noise_level": 2.0}}).autoencoder.noise_level == 2
    )


def test_every_field_is_explained() -> None:
    """The docstring under each field is what the README's table is made from."""
    package = Path(__file__).parents[1] / "dcgan_data"
    text = "".join((package / name).read_text("utf-8") for name in ("recipe.py", "recipe_tables.py"))
    fields = re.findall(r"^    \w+: (?:int|str|float|bool|tuple)\b.*$", text, re.MULTILINE)
    explained = re.findall(r'^    \w+: (?:int|str|float|bool|tuple)\b.*\n    """', text, re.MULTILINE)
    assert len(fields) == len(explained) > 40


def test_load_names_the_file(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"
    for path, expected in (
        (missing, f"{missing}: no such recipe; see pipelines/*.toml for examples"),
        (write(tmp_path, "seed = "), "not a readable TOML file ("),
        (write(tmp_path, "sead = 1", "misspelt.toml"), "sead: unknown key; did you mean 'seed'?"),
    ):
        with pytest.raises(BadRequest) as caught:
            load_recipe(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert expected in str(caught.value)


def test_load_of_something_unreadable(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for path in (tmp_path, tmp_path / "binary.toml"):
        with pytest.raises(BadRequest, match=r"not a readable TOML file \("):
            load_recipe(path)


def test_load(tmp_path: Path) -> None:
    text = 'name = "x"\n[source]\npath = "photos"\nlimit = 3\n[dedup]\nmin_contrast = 2.5\n'
    found = load_recipe(write(tmp_path, text))
    assert (found.name, found.source.path, found.source.limit) == ("x", "photos", 3)
    assert found.dedup.min_contrast == 2.5


def test_differing_keys_names_both_values() -> None:
    a = Recipe().as_dict()
    b = recipe_from_dict({"seed": 1, "image": {"size": 32}}).as_dict()
    assert differing_keys(a, a) == []
    assert differing_keys(a, b) == ["image.size (there: 64, asked: 32)", "seed (there: 0, asked: 1)"]
    assert differing_keys({"a": 1}, {"b": {"c": 2}}) == [
        "a (there: 1, asked: None)",
        "b (there: None, asked: {'c': 2})",
    ]


def test_formats_are_those_of_the_sources() -> None:
    """Listed twice: a recipe is read without loading what reads sources."""
    assert recipe.SOURCE_FORMATS == base.FORMATS
