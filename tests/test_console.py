"""The plain lines that a person, or a log file, gets while a command runs."""

from __future__ import annotations

import pytest

from dcgan_data.console import ConsoleReporter


def last_line(capsys: pytest.CaptureFixture[str], *advances: int) -> str:
    with ConsoleReporter().stage("fit", 8_000, "updates") as stage:
        for amount in advances:
            stage.advance(amount)
    return capsys.readouterr().err.splitlines()[-1]


def test_what_an_earlier_run_has_done_is_given_no_rate(capsys: pytest.CaptureFixture[str]) -> None:
    assert last_line(capsys) == "fit: nothing left to do"
    assert last_line(capsys, 8_000).startswith("fit: 8,000 of 8,000 updates, 0.")
    assert "/s" not in last_line(capsys, 8_000)


def test_what_this_run_has_done_is_given_its_rate(capsys: pytest.CaptureFixture[str]) -> None:
    assert "updates/s, 0." in last_line(capsys, 3_000, 5_000)
