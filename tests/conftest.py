"""What all tests share: drawn pictures, sources made of them, a quick recipe, and a real browser."""

from __future__ import annotations

import io
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import pytest
from hypothesis import settings
from PIL import Image, ImageDraw, ImageFilter

from dcgan_data.formats.dataset import DatasetInfo
from dcgan_data.pipeline import run_job
from dcgan_data.plan import Job
from dcgan_data.recipe import Recipe, recipe_from_dict
from dcgan_data.reporter import Stage

# Before torch is loaded: its threads then do not stall each other when the machine is busy (see cli.main).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The same examples on every run, on however slow a machine; nothing is stored.
settings.register_profile("project", deadline=None, derandomize=True, database=None)
settings.load_profile("project")


def pytest_addoption(parser: pytest.Parser) -> None:
    """What ``make faults`` says; here, because pytest reads options from the outermost directory alone."""
    group = parser.getgroup("faults")
    group.addoption("--faults", choices=("short", "long"), default="short", help="how often things go wrong")
    group.addoption("--faults-times", type=int, default=1, help="the long form, so many times over")
    group.addoption("--faults-table", type=Path, help="a Markdown page to write of what came of it")


@pytest.fixture(autouse=True, scope="session")
def no_waiting_for_the_disk() -> Iterator[None]:
    """What tests write need not survive a power cut, and fsync was a fourth of their time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


def draw_picture(width: int = 96, height: int = 72, seed: int = 0) -> np.ndarray:
    """uint8 (height, width, 3): a gradient, waves, and some boxes and discs; different for every seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    first, second = rng.uniform(40, 215, (2, 3))
    along = (x * np.cos(angle := rng.uniform(0, 6.28)) + y * np.sin(angle) + 1) / 2
    picture = first + (second - first) * along[..., None]
    frequency = rng.uniform(4, 20, 2)
    picture += 18 * np.sin(6.28 * (frequency[0] * x + frequency[1] * y))[..., None]
    for _ in range(4):
        cx, cy, reach = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.7), rng.uniform(0.06, 0.25)
        disc = (x - cx) ** 2 + (y - cy) ** 2 < reach**2
        box = (abs(x - cy) < reach) & (abs(y - cx) < reach / 2)
        picture[disc] = picture[disc] * 0.3 + rng.uniform(0, 255, 3) * 0.7
        picture[box] = picture[box] * 0.3 + rng.uniform(0, 255, 3) * 0.7
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def draw_texture(seed: int, width: int = 64, height: int = 64) -> np.ndarray:
    """uint8 (height, width, 3): smooth random blobs some 6 pixels wide. Every part is unlike the others, so
    that a copy is found by any code, and nothing else is."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 256, (height // 6 + 2, width // 6 + 2, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(cells).resize((width, height), Image.Resampling.BICUBIC))


def draw_face(size: int = 200, seed: int = 0) -> np.ndarray:
    """uint8 (size, size, 3): a drawn head, looking at us, that face detectors take for a face. Colours, and a
    pattern behind it, differ for every seed."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(draw_texture(seed, size, size))
    draw = ImageDraw.Draw(image)
    skin = np.array([rng.integers(190, 235), rng.integers(150, 185), rng.integers(120, 150)])
    hair = tuple(rng.integers(20, 80, 3).tolist())

    def at(*places: float) -> tuple[float, ...]:
        return tuple(place * size for place in places)

    def shade(share: float) -> tuple[int, ...]:
        return tuple((skin * share).astype(int).tolist())

    draw.ellipse(at(0.18, 0.05, 0.82, 0.8), fill=hair)
    draw.rectangle(at(0.4, 0.75, 0.6, 1), fill=shade(0.85))
    draw.ellipse(at(0.24, 0.14, 0.76, 0.86), fill=shade(1))
    for x in (0.38, 0.62):
        draw.ellipse(at(x - 0.07, 0.42, x + 0.07, 0.49), fill="white")
        draw.ellipse(at(x - 0.03, 0.425, x + 0.03, 0.485), fill=(40, 30, 20))
        draw.line(at(x - 0.08, 0.385, x, 0.36, x + 0.08, 0.385), fill=hair, width=max(1, size // 50))
        draw.ellipse(at(x / 6 + 0.4, 0.6, x / 6 + 0.43, 0.625), fill=shade(0.6))
    draw.polygon(at(0.5, 0.45, 0.45, 0.62, 0.55, 0.62), fill=shade(0.88))
    draw.ellipse(at(0.4, 0.69, 0.6, 0.76), fill=(170, 70, 70))
    draw.line(at(0.4, 0.725, 0.6, 0.725), fill=(110, 40, 40), width=max(1, size // 100))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(size * 0.006)))


def crop_picture(pixels: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """Cut so many pixels off each side, and scale back."""
    height, width = pixels.shape[:2]
    part = Image.fromarray(pixels).crop((left, top, width - right, height - bottom))
    return np.asarray(part.resize((width, height), Image.Resampling.LANCZOS))


def add_grain(pixels: np.ndarray, strength: float, seed: int = 0) -> np.ndarray:
    """Add Gaussian noise of a standard deviation in grey levels, the same in all channels."""
    noise = np.random.default_rng(seed).normal(0, strength, pixels.shape[:2])
    return np.clip(np.rint(pixels + noise[..., None]), 0, 255).astype(np.uint8)


def encode_picture(pixels: np.ndarray | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """The bytes that Pillow writes."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def lmdb_of(path: Path, records: Mapping[bytes, bytes]) -> Path:
    """An LSUN-like LMDB."""
    with lmdb.open(str(path), map_size=1 << 26) as environment:
        with environment.begin(write=True) as transaction:
            for key, value in records.items():
                transaction.put(key, value)
    return path


def small_recipe(rule: str = "exact", **changes: Any) -> Recipe:
    """A recipe for a few tiny images: 32x32, 8 records a shard, an autoencoder of a few updates.

    A changed section is merged: ``small_recipe(image={"filter": "quality"})``.
    """
    values: dict[str, Any] = {
        "records_per_shard": 8,
        "image": {"size": 32, "max_seconds": 0},  # so that one worker is the test's own process
        "autoencoder": {"max_updates": 8, "evaluate_every": 4, "batch_size": 16},
        "dedup": {"rule": rule},
    }
    for name, change in changes.items():
        values[name] = {**values.get(name, {}), **change} if isinstance(change, dict) else change
    return recipe_from_dict(values)


NEAR = {
    "rule": "near",
    "threshold": 0.74,
    "radius": 16,
    "zooms": [0.94],
    "aspect": 1.0,
    "window": 32,
    "max_candidates": 32,
}
"""Whatever the defaults are: the scores of the fixtures' copies lie about this threshold. And few views, as
most of the time of a small run goes into making an encoder of them."""


@dataclass
class RecordingReporter:
    """Remembers what a run said, and what every stage counted."""

    said: list[str] = field(default_factory=list)
    stages: dict[str, int] = field(default_factory=dict)

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def stage(self, name: str, total: int, unit: str) -> Iterator[Stage]:
        self.stages[name] = 0
        yield _Counter(self, name)


@dataclass
class _Counter:
    reporter: RecordingReporter
    name: str

    def advance(self, amount: int, note: str = "") -> None:
        self.reporter.stages[self.name] += amount


def make_prepared(
    source: Path,
    out: Path,
    recipe: Recipe | None = None,
    reporter: RecordingReporter | None = None,
    **options: Any,
) -> DatasetInfo:
    """Run the pipeline on the CPU; any share of rejected records is allowed unless said otherwise."""
    job = Job(recipe or small_recipe(), source, out, **{"device": "cpu", "max_rejected": 1.0, **options})
    return run_job(job, reporter or RecordingReporter())


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    return draw_picture


@pytest.fixture(scope="session")
def texture() -> Callable[..., np.ndarray]:
    return draw_texture


@pytest.fixture(scope="session")
def face() -> Callable[..., np.ndarray]:
    return draw_face


@pytest.fixture(scope="session")
def crop() -> Callable[..., np.ndarray]:
    return crop_picture


@pytest.fixture(scope="session")
def grain() -> Callable[..., np.ndarray]:
    return add_grain


@pytest.fixture(scope="session")
def encoded() -> Callable[..., bytes]:
    return encode_picture


@pytest.fixture(scope="session")
def write_lmdb() -> Callable[[Path, Mapping[bytes, bytes]], Path]:
    return lmdb_of


@pytest.fixture(scope="session")
def recipe() -> Callable[..., Recipe]:
    return small_recipe


@pytest.fixture
def reporter() -> RecordingReporter:
    return RecordingReporter()


@pytest.fixture(scope="session")
def make() -> Callable[..., DatasetInfo]:
    return make_prepared


@pytest.fixture(scope="session")
def records() -> dict[bytes, bytes]:
    """20 records: 15 pictures, 3 copies of some of them (one of these larger), 2 that cannot be decoded."""
    found = {b"%02d" % n: encode_picture(draw_picture(seed=n)) for n in range(14)}
    tiny = draw_picture(32, 32, seed=14)
    found[b"14"] = encode_picture(tiny)
    found[b"15 larger"] = encode_picture(tiny.repeat(2, axis=0).repeat(2, axis=1))
    found[b"16 copy"] = found[b"03"]
    found[b"17 copy"] = found[b"03"]
    found[b"18 text"] = b"not an image"
    found[b"19 cut"] = found[b"05"][:400]
    return found


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory, records: dict[bytes, bytes]) -> Path:
    """``records`` as an LMDB. Tests only read it."""
    return lmdb_of(tmp_path_factory.mktemp("source") / "lmdb", records)


@pytest.fixture(scope="session")
def finished_set(tmp_path_factory: pytest.TempPathFactory, source: Path) -> Path:
    """``source``, de-duplicated: 3 shards, 15 kept, 3 duplicates, 2 rejected. Tests only read it."""
    out = tmp_path_factory.mktemp("finished") / "set"
    make_prepared(source, out)
    return out


@pytest.fixture
def copied_set(tmp_path: Path, finished_set: Path) -> Path:
    """A copy of ``finished_set`` to tamper with."""
    return Path(shutil.copytree(finished_set, tmp_path / "copied"))


@pytest.fixture(scope="session")
def near() -> Callable[..., Recipe]:
    """``small_recipe`` with the near rule; keywords are fields of [dedup]."""

    def of(records_per_shard: int = 8, **changes: Any) -> Recipe:
        return small_recipe("near", records_per_shard=records_per_shard, dedup={**NEAR, **changes})

    return of


@pytest.fixture(scope="session")
def near_recipe() -> Recipe:
    """``small_recipe`` with the near rule."""
    return small_recipe("near", dedup=NEAR)


@pytest.fixture(scope="session")
def near_records() -> dict[bytes, bytes]:
    """24 records: 12 textures, 8 copies (seven of them changed), 3 flat ones (two equal), one that is cut.

    The copies score more than 0.9, but for "06 grainy" (some 0.8) and "08 grainy" (some 0.65).
    """
    pictures = [draw_texture(seed) for seed in range(12)]
    found = {b"%02d" % number: encode_picture(pixels) for number, pixels in enumerate(pictures)}
    found[b"00 crop"] = encode_picture(crop_picture(pictures[0], 2, 1, 2, 2))
    found[b"01 mirror"] = encode_picture(np.ascontiguousarray(pictures[1][:, ::-1]))
    found[b"02 jpeg"] = encode_picture(pictures[2], "JPEG", quality=60)
    found[b"03 equal"] = found[b"03"]
    found[b"04 larger"] = encode_picture(Image.fromarray(pictures[4]).resize((128, 128)))
    found[b"05 both"] = encode_picture(crop_picture(pictures[5][:, ::-1], 1, 2, 3, 2), "JPEG", quality=70)
    found[b"06 grainy"] = encode_picture(add_grain(pictures[6], 40))
    found[b"08 grainy"] = encode_picture(add_grain(pictures[8], 58))
    found[b"20 black"] = encode_picture(np.zeros((40, 40, 3), np.uint8))
    found[b"21 black"] = encode_picture(np.zeros((50, 50, 3), np.uint8))
    found[b"22 white"] = encode_picture(np.full((40, 40, 3), 255, np.uint8))
    found[b"23 cut"] = found[b"06"][:400]
    return found


@pytest.fixture(scope="session")
def near_source(tmp_path_factory: pytest.TempPathFactory, near_records: dict[bytes, bytes]) -> Path:
    """``near_records`` as an LMDB. Tests only read it."""
    return lmdb_of(tmp_path_factory.mktemp("near") / "lmdb", near_records)


@pytest.fixture(scope="session")
def near_set(tmp_path_factory: pytest.TempPathFactory, near_source: Path, near_recipe: Recipe) -> Path:
    """``near_source``, de-duplicated: 3 shards, 15 kept, 8 duplicates, 1 rejected. Tests only read it."""
    out = tmp_path_factory.mktemp("near") / "set"
    make_prepared(near_source, out, near_recipe)
    return out


@pytest.fixture
def copied_near_set(tmp_path: Path, near_set: Path) -> Path:
    """A copy of ``near_set`` to tamper with."""
    return Path(shutil.copytree(near_set, tmp_path / "copied"))


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE_S = 60.0
"""Until a test gives up waiting for a condition; nothing waits for a fixed time."""
FLAGS = (
    "--headless",
    "--no-sandbox",  # CI is root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--hide-scrollbars",
    "--window-size=1280,1000",
    "--remote-debugging-pipe",
)
NAMED_KEYS = {"End": 35, "Home": 36, "ArrowLeft": 37, "ArrowRight": 39}
"""Keys without a character, and Windows's numbers for them."""


class Page:
    """One tab of Debian's chromium: calls of the DevTools protocol, real key presses, and all that a page did
    and complained of.

    The protocol runs over two pipes (``--remote-debugging-pipe``), so that no port and no further package is
    needed, and the browser ends when they are closed.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands, self._answers = commands, answers
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session and not method.startswith("Browser."):
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self.events.append(answer)
        assert "error" not in answer, (method, answer["error"])
        return dict(answer["result"])

    @contextmanager
    def expecting(
        self, method: str, accept: Callable[[dict[str, Any]], bool] = lambda event: True
    ) -> Iterator[None]:
        """Do what is within, and go on when such an event has come of it."""
        start = len(self.events)
        yield
        while not any(e.get("method") == method and accept(e["params"]) for e in self.events[start:]):
            self.events.append(self._receive())

    def open(self, address: str) -> None:
        self.call("Page.navigate", url="about:blank")  # so that a new #fragment is a new page
        self.call("Page.navigate", url=address)
        self.until("document.readyState === 'complete' && location.protocol === 'file:'")

    def evaluate(self, script: str) -> Any:
        answer = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Until a script's condition holds."""
        end = time.monotonic() + PATIENCE_S
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"{condition} never came true"

    def text(self, element: str) -> str:
        return str(self.evaluate(f"document.getElementById({element!r}).innerText"))

    def press(self, *keys: str) -> None:
        """Characters, or names such as ArrowLeft."""
        for key in keys:
            named = {"key": key, "code": "Space" if key == " " else f"Key{key.upper()}", "text": key}
            if key in NAMED_KEYS:
                named = {"key": key, "code": key}
            code = NAMED_KEYS.get(key) or ord(key.upper())
            self.call("Input.dispatchKeyEvent", type="keyDown", windowsVirtualKeyCode=code, **named)
            self.call("Input.dispatchKeyEvent", type="keyUp", windowsVirtualKeyCode=code, **named)

    def click(self, selector: str, place: int = 0) -> None:
        """A real click in the middle of an element."""
        script = f"""(() => {{ const found = document.querySelectorAll({selector!r})[{place}];
            found.scrollIntoView({{block: "center"}}); const box = found.getBoundingClientRect();
            return [box.x + box.width / 2, box.y + box.height / 2] }})()"""
        x, y = self.evaluate(script)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def complaints(self) -> list[dict[str, Any]]:
        """Console messages, exceptions and errors of the browser about the page."""
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [event for event in self.events if event.get("method") in kinds]

    def requests(self) -> set[str]:
        """Addresses that were asked for; pictures within the page are no requests."""
        sent = (
            e["params"]["request"]["url"]
            for e in self.events
            if e.get("method") == "Network.requestWillBeSent"
        )
        return {url.split("#")[0] for url in sent if not url.startswith(("data:", "about:", "blob:"))}

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._answers], [], [], PATIENCE_S)
            assert ready, "the browser says nothing"
            data = os.read(self._answers, 1 << 20)
            assert data, "the browser has ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))


@contextmanager
def started_browser() -> Iterator[Page]:
    assert CHROMIUM
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        to_read, commands = os.pipe()
        answers, to_write = os.pipe()
        # The browser expects its pipes at 3 and 4.
        shell = f'exec "$@" 3<&{to_read} 4>&{to_write}'
        process = subprocess.Popen(
            ["bash", "-c", shell, "bash", CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(to_read, to_write),
            stderr=subprocess.DEVNULL,
        )
        os.close(to_read)
        os.close(to_write)
        try:
            yield Page(commands, answers)
        finally:
            os.close(commands)
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(answers)


@pytest.fixture(scope="module")
def browser() -> Iterator[Page]:
    """A tab of a new browser. Without chromium the test is skipped, but not where that must not happen."""
    if not CHROMIUM:
        message = "needs chromium (Debian: apt-get install chromium)"
        if os.environ.get("CI") or os.environ.get("DCGAN_DATA_REQUIRE_CHROMIUM"):
            pytest.fail(message)
        pytest.skip(message)
    with started_browser() as page:
        yield page
