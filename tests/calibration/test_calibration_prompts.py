"""Prompts on one side only, and one response of each where a bound asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from value_steer.calibration import (
    is_held_out,
    one_per_prompt,
    refuse_training_prompts,
    split_by_prompt,
    write_training_prompts,
)
from value_steer.calibration.prompts import read_training_prompts, training_prompts_file
from value_steer.errors import CalibrationError, DataError
from value_steer.trajectories import Trajectory

if TYPE_CHECKING:
    from pathlib import Path


def responses(prompts: int, each: int) -> list[Trajectory]:
    """``each`` responses to every prompt, told apart by their value."""
    value = np.linspace(0, 1, prompts * each, dtype=np.float32)
    return [Trajectory(f"p{i // each}", value[i : i + 1], 1.0) for i in range(prompts * each)]


def test_a_split_keeps_prompts_together() -> None:
    """Whatever the order and whatever else is there, the same prompts are held out."""
    held_out, rest = split_by_prompt(responses(1000, 2), 0.2, seed=3)
    held, others = ({t.prompt_id for t in side} for side in (held_out, rest))

    assert held.isdisjoint(others)
    assert len(held_out) + len(rest) == 2000
    assert len(held) == pytest.approx(200, abs=50)
    assert held == {f"p{i}" for i in range(1000) if is_held_out(f"p{i}", 0.2, seed=3)}
    assert held != {f"p{i}" for i in range(1000) if is_held_out(f"p{i}", 0.2, seed=4)}


@pytest.mark.parametrize(("share", "count"), [(0.0, 0), (1.0, 20)])
def test_a_split_can_hold_out_none_or_all(share: float, count: int) -> None:
    """The ends of the scale."""
    assert len(split_by_prompt(responses(20, 1), share)[0]) == count


def test_one_response_of_each_prompt_is_drawn_evenly() -> None:
    """Not the first of each, which may differ from the others."""
    everything = responses(3000, 3)
    drawn = one_per_prompt(everything, seed=1)
    place = {id(t): i % 3 for i, t in enumerate(everything)}

    assert [t.prompt_id for t in drawn] == [f"p{i}" for i in range(3000)]
    counts = np.bincount([place[id(t)] for t in drawn])
    assert counts.min() > 900
    again = one_per_prompt(everything, seed=1)
    assert all(a is b for a, b in zip(drawn, again, strict=True))


def test_training_prompts_are_refused_by_name() -> None:
    """Calibration on them would promise too much."""
    with pytest.raises(CalibrationError, match=r"4 prompts .* \(p0, p1, p2, \.\.\.\).*not seen"):
        refuse_training_prompts(responses(5, 2), ["p0", "p1", "p2", "p3", "x"])

    refuse_training_prompts(responses(5, 2), ["x"])


def test_training_prompts_are_noted_beside_the_head(tmp_path: Path) -> None:
    """One id a line, each once."""
    head = tmp_path / "vhead.pt"
    write_training_prompts(head, ["b", "a b", "b", "ü"])

    assert training_prompts_file(head).name == "vhead.pt.prompts.txt"
    assert read_training_prompts(training_prompts_file(head)) == {"a b", "b", "ü"}


@pytest.mark.parametrize("name", ["a\nb", "a\r", ""])
def test_an_id_that_is_no_line_is_refused(tmp_path: Path, name: str) -> None:
    """It would be read back as others, and calibration on it would pass."""
    with pytest.raises(DataError, match="not one line of text"):
        write_training_prompts(tmp_path / "vhead.pt", ["b", name])


@pytest.mark.parametrize("body", ["p0\np1\n".encode("utf-16-le"), b"p0\rp1\rp2"])
def test_a_list_whose_lines_are_not_seen_is_refused(tmp_path: Path, body: bytes) -> None:
    """Else none of its ids would be found among those of calibration."""
    (tmp_path / "ids.txt").write_bytes(body)

    with pytest.raises(DataError, match="line 1 holds a control character"):
        read_training_prompts(tmp_path / "ids.txt")


def test_a_list_that_cannot_be_read_is_one_clear_error(tmp_path: Path) -> None:
    """Missing, no text, or the pointer of a file that was not fetched."""
    (tmp_path / "x").write_bytes(b"a\n\xff")
    (tmp_path / "lfs").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    for name, words in (
        ("none.txt", r"cannot be read.*one prompt id a line"),
        ("x", r"line 2 is no text in UTF-8"),
        ("lfs", "run git lfs pull"),
    ):
        with pytest.raises(DataError, match=words):
            read_training_prompts(tmp_path / name)


def test_a_list_written_on_windows_is_the_same_list(tmp_path: Path) -> None:
    """Else none of its ids would be found, and training prompts would pass as unseen."""
    (tmp_path / "ids").write_bytes(b"\xef\xbb\xbfa\r\nb\r\n")

    assert read_training_prompts(tmp_path / "ids") == {"a", "b"}
