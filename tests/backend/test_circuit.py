"""The circuit of a backend that keeps failing."""

from __future__ import annotations

from memgpt_proxy.backend.circuit import FIRST_PAUSE, LONGEST_PAUSE, TOLERATED, Circuit


class Clock:
    """A clock that is set by hand."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


def opened(clock: Clock) -> Circuit:
    circuit = Circuit(clock)
    for _ in range(TOLERATED + 1):
        circuit.failed()
    return circuit


def test_some_failures_in_a_row_are_tolerated() -> None:
    circuit = Circuit(Clock())
    for _ in range(3):
        for _ in range(TOLERATED):
            circuit.failed()
            assert circuit.admits()
        circuit.passed()
    for _ in range(TOLERATED + 1):
        circuit.failed()
    assert not circuit.admits()


def test_one_alone_tries_after_the_pause() -> None:
    clock = Clock()
    circuit = opened(clock)
    clock.now += FIRST_PAUSE - 0.01
    assert not circuit.admits()
    clock.now += 0.01
    assert circuit.admits()
    assert not circuit.admits()
    circuit.passed()
    assert not circuit.is_open
    assert circuit.admits()
    assert circuit.admits()


def test_each_trial_that_fails_doubles_the_pause_to_its_bound() -> None:
    clock = Clock()
    circuit = opened(clock)
    pause = FIRST_PAUSE
    for _ in range(8):
        clock.now += pause
        assert circuit.admits()
        circuit.failed()
        pause = min(2 * pause, LONGEST_PAUSE)
        clock.now += pause - 0.01
        assert not circuit.admits()
        clock.now += 0.01 - pause
    assert pause == LONGEST_PAUSE


def test_those_that_fail_together_make_one_pause() -> None:
    clock = Clock()
    circuit = opened(clock)
    for _ in range(100):
        circuit.failed()
    clock.now += FIRST_PAUSE
    assert circuit.admits()


def test_a_trial_that_never_ends_costs_one_pause() -> None:
    clock = Clock()
    circuit = opened(clock)
    clock.now += FIRST_PAUSE
    assert circuit.admits()
    clock.now += FIRST_PAUSE
    assert circuit.admits()


def test_a_success_of_one_asked_before_closes_it() -> None:
    circuit = opened(Clock())
    circuit.passed()
    assert circuit.admits()
