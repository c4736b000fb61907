"""Ctrl-C and SIGTERM wait for the end of the step."""

from __future__ import annotations

import signal
import threading

import pytest

from dcgan_data.train.interrupt import deferred_interrupts


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_remembered_and_the_handler_restored(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with deferred_interrupts() as pending:
        assert not pending.is_set()
        signal.raise_signal(number)
        assert pending.is_set()
    assert signal.getsignal(number) is before


def test_the_second_ctrl_c_ends_at_once() -> None:
    with pytest.raises(KeyboardInterrupt), deferred_interrupts() as pending:
        signal.raise_signal(signal.SIGINT)
        assert pending.is_set()
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_the_handler_is_restored_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ZeroDivisionError), deferred_interrupts():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is before


def test_someone_elses_handler_is_left_alone() -> None:
    heard: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: heard.append(number))
    try:
        with deferred_interrupts() as pending:
            signal.raise_signal(signal.SIGINT)
            assert not pending.is_set()
    finally:
        signal.signal(signal.SIGINT, before)
    assert heard == [signal.SIGINT]


def test_works_in_a_thread() -> None:
    outcomes: list[bool] = []

    def body() -> None:
        with deferred_interrupts() as pending:
            outcomes.append(pending.is_set())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert outcomes == [False]
