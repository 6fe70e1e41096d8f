"""What the guard of the benchmark reads, and when something of an answer may be shown."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from benchmarks.guard import reading
from benchmarks.guard.reading import Reader, answer
from benchmarks.guard.results import Round, lines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is done for an answer, in order; the clock counts it."""
    done: list[str] = []
    monkeypatch.setattr(reading, "time", Clock(done))
    return done


class Clock:
    """A clock that goes on with every step."""

    def __init__(self, steps: list[str]) -> None:
        self._steps = steps

    def perf_counter(self) -> float:
        """How many steps were done."""
        return float(len(self._steps))


def shown(steps: list[str], every: int | None) -> float:
    """How many steps it takes until something of an answer of five words is shown."""

    async def parts() -> AsyncIterator[str]:
        for part in (" a", " b c", " d", " e"):
            steps.append("written")
            yield part

    async def read(text: str) -> None:
        steps.append(text)

    reader = None if every is None else Reader(read, every)
    return asyncio.run(answer("p", parts(), reader))


def test_the_guard_reads_all_that_was_written_and_nothing_is_shown_before(
    steps: list[str],
) -> None:
    """Whenever so many tokens came since it read, and what is left at the end."""
    assert shown(steps, 3) == 3
    assert steps == ["written", "written", "p a b c", "written", "written", "p a b c d e"]


def test_what_is_short_is_read_at_its_end(steps: list[str]) -> None:
    """It is shown then."""
    assert shown(steps, 9) == 5
    assert steps == ["written"] * 4 + ["p a b c d e"]


def test_what_was_just_read_is_not_read_again(steps: list[str]) -> None:
    """The answer may end where the guard has read."""
    assert shown(steps, 5) == 5
    assert steps == ["written"] * 4 + ["p a b c d e"]


def test_without_a_guard_the_first_token_is_shown_at_once(steps: list[str]) -> None:
    """It waits for nobody."""
    assert shown(steps, None) == 1
    assert steps == ["written"] * 4


def test_ratios_are_of_the_same_round() -> None:
    """The machine may be twice as slow in the next one."""
    plain = Round(2.0, 4.0, [0.1]), Round(4.0, 8.0, [0.1])
    guarded = Round(3.0, 4.0, [0.2]), Round(6.0, 8.0, [0.4])
    rounds = [
        {"plain": one, "guarded": two, "steered": one}
        for one, two in zip(plain, guarded, strict=True)
    ]

    assert lines(rounds) == [
        "plain: something shown after 100 ms (p99 100)",
        "guarded: something shown after 300 ms (p99 398), "
        "processor 1.50 of plain (1.50 to 1.50), wall 1.00 of plain (1.00 to 1.00)",
        "steered: something shown after 100 ms (p99 100), "
        "processor 1.00 of plain (1.00 to 1.00), wall 1.00 of plain (1.00 to 1.00)",
    ]
