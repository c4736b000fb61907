"""What a person judged (``verdicts.json``, downloaded), and what follows from it (``report/audit.json``)."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dcgan_data.errors import BadInput
from dcgan_data.formats.atomic import write_json
from dcgan_data.formats.plain import build, read_json
from dcgan_data.formats.staging import REPORT

AUDIT = "audit.json"
VERDICTS_FORMAT, VERDICTS_VERSION = "dcgan_data verdicts", 1
AUDIT_FORMAT, AUDIT_VERSION = "dcgan_data audit", 1
SAME, DIFFERENT = "same", "different"
_JUDGE = "judge the pairs of the set's report/index.html#audit and download the verdicts"


@dataclass(frozen=True)
class Verdict:
    """A person's word on one removal."""

    key: str
    """The removed image's key ..."""
    part: int
    """... and part, 0 unless a record holds several images."""
    duplicate_of: str
    """The key of the kept image that it was compared with."""
    verdict: str
    """``same`` (a copy) or ``different`` (a false positive)."""


@dataclass(frozen=True)
class VerdictFile:
    """The contents of ``verdicts.json``."""

    content_sha256: str
    """Of the set whose removals were judged."""
    seed: int
    """Of the sample that was shown."""
    verdicts: tuple[Verdict, ...]
    """In the order of judging; at least one."""


@dataclass(frozen=True)
class AuditLine:
    """The audit of the removals in one score band, or of all."""

    band: str
    """Scores, for example ``0.72-0.75``; ``all`` for the whole set."""
    removals: int
    """Removed images in the set."""
    judged: int
    """Of these, the ones with a verdict."""
    false_positives: int
    """Of these, the ones judged to show something else than the kept image."""
    rate: float | None
    """false_positives / judged; None without verdicts."""
    upper_bound: float | None
    """Exact (Clopper-Pearson) one-sided 95 % upper bound of the share of false positives."""
    interval: tuple[float, float] | None
    """Exact (Clopper-Pearson) two-sided 95 % interval of it."""


@dataclass(frozen=True)
class AuditResult:
    """The contents of ``report/audit.json``."""

    content_sha256: str
    """Of the set whose removals were judged."""
    seed: int
    """Of the sample that was shown."""
    sample_size: int
    """Pairs that the report shows for judging."""
    overall: AuditLine
    """All removals."""
    bands: tuple[AuditLine, ...]
    """By score, the lowest first."""
    wrong: tuple[Verdict, ...]
    """The removals judged to be false."""
    notes: tuple[str, ...]
    """What limits these figures; empty if nothing does."""


def read_verdicts(path: Path) -> VerdictFile:
    """Read ``verdicts.json``; BadInput if it is not that, is empty, or judges a pair twice."""
    raw = _read(path, VERDICTS_FORMAT, VERDICTS_VERSION, "verdicts", _JUDGE)
    try:
        content_sha256, seed = _typed(raw, "content_sha256", str), _typed(raw, "seed", int)
        entries = _typed(raw, "verdicts", list)
    except (KeyError, TypeError) as error:
        raise BadInput(f"{path}: no file of verdicts ({_what(error)}); {_JUDGE}") from None
    verdicts: dict[tuple[str, int], Verdict] = {}
    for place, entry in enumerate(entries, 1):
        try:
            verdict = _verdict(entry)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadInput(f"{path}: verdict {place} cannot be used ({_what(error)}); {_JUDGE}") from None
        if (verdict.key, verdict.part) in verdicts:
            raise BadInput(
                f"{path}: verdict {place} judges {verdict.key!r} a second time; remove one of them"
            )
        verdicts[verdict.key, verdict.part] = verdict
    if not verdicts:
        raise BadInput(f"{path}: holds no verdicts; {_JUDGE}")
    return VerdictFile(content_sha256, seed, tuple(verdicts.values()))


def write_audit(out: Path, result: AuditResult) -> None:
    """Write ``report/audit.json`` of a set atomically."""
    write_json(out / REPORT / AUDIT, {"format": AUDIT_FORMAT, "version": AUDIT_VERSION, **asdict(result)})


def read_audit(out: Path) -> AuditResult | None:
    """Read ``report/audit.json`` of a set; None if there is none, BadInput if it is damaged."""
    path = out / REPORT / AUDIT
    if not path.exists():
        return None
    remedy = "run 'dcgan-data audit' again"
    raw = _read(path, AUDIT_FORMAT, AUDIT_VERSION, "audit", remedy)
    try:
        return build(AuditResult, raw)
    except ValueError as error:
        raise BadInput(f"{path}: damaged ({error}); {remedy}") from None


def _read(path: Path, expected: str, version: int, what: str, remedy: str) -> dict[str, Any]:
    try:
        raw = read_json(path)
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; {remedy}") from None
    except ValueError as error:
        raise BadInput(f"{path}: not a JSON file ({error}); {remedy}") from None
    found = raw.get("format") if isinstance(raw, dict) else None
    if found != expected:
        raise BadInput(f"{path}: not a file of this program's {what} (no format {expected!r}); {remedy}")
    if raw.get("version") != version:
        raise BadInput(f"{path}: version {raw.get('version')!r} of {what}, this program reads {version}")
    known: dict[str, Any] = raw
    return known


def _typed(raw: dict[str, Any], name: str, kind: type[Any]) -> Any:
    value = raw[name]
    if type(value) is not kind:
        raise TypeError(f"{name} is no {kind.__name__}")
    return value


def _verdict(entry: dict[str, Any]) -> Verdict:
    part = _typed(entry, "part", int) if "part" in entry else 0
    word = _typed(entry, "verdict", str)
    if word not in (SAME, DIFFERENT):
        raise ValueError(f"verdict is {word!r}, neither {SAME!r} nor {DIFFERENT!r}")
    return Verdict(_typed(entry, "key", str), part, _typed(entry, "duplicate_of", str), word)


def _what(error: Exception) -> str:
    return f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
