"""Trajectories come back from their file as they were, and a wrong line is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from value_steer.errors import DataError
from value_steer.trajectories import (
    Trajectory,
    TrajectoryHeader,
    read_header,
    read_trajectories,
    write_trajectories,
)
from value_steer.value_probe import Polarity, SettingsFingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

HEADER = TrajectoryHeader(
    Polarity.P_GOOD, SettingsFingerprint(model="m", temperature=1.0, top_k=0, max_tokens=9)
)
LINE = {"prompt_id": "a", "values": [0.5, 1], "label": 1}
FIRST = {"trajectories": 1, "scores": "p_good"}


def fp32(values: list[float]) -> NDArray[np.float32]:
    """An array as a head gives it."""
    return np.array(values, dtype=np.float32)


def fields_of(trajectory: Trajectory) -> tuple[object, ...]:
    """All of a trajectory, comparable."""
    return (
        trajectory.prompt_id,
        trajectory.values.tobytes(),
        trajectory.label,
        trajectory.prior,
        trajectory.group,
        trajectory.prompt,
        trajectory.response,
    )


PROBABILITIES = st.floats(0, 1)
TEXTS = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
TRAJECTORIES = st.builds(
    Trajectory,
    prompt_id=st.text(st.characters(exclude_categories=["Cs"]), max_size=3),
    values=arrays(np.float32, st.integers(1, 5), elements=st.floats(0, 1, width=32)),
    label=PROBABILITIES,
    prior=st.none() | PROBABILITIES,
    group=TEXTS,
    prompt=TEXTS,
    response=TEXTS,
)


@given(st.lists(TRAJECTORIES, max_size=4))
def test_what_is_written_is_read(
    tmp_path_factory: pytest.TempPathFactory, written: list[Trajectory]
) -> None:
    """Every field, every bit of the values."""
    path = tmp_path_factory.mktemp("t") / "t.jsonl"
    write_trajectories(path, HEADER, iter(written))

    assert read_header(path) == HEADER
    assert list(map(fields_of, read_trajectories(path))) == list(map(fields_of, written))


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    """The source of the trajectories may break off halfway."""
    path = tmp_path / "t.jsonl"
    write_trajectories(path, HEADER, [Trajectory("a", fp32([0.5]), 1.0)])

    with pytest.raises(ZeroDivisionError):
        write_trajectories(path, HEADER, (Trajectory("b", fp32([1 / 0]), 1) for _ in "a"))

    assert [t.prompt_id for t in read_trajectories(path)] == ["a"]
    assert [file.name for file in tmp_path.iterdir()] == ["t.jsonl"]


@pytest.mark.parametrize(
    ("values", "label", "prior", "said"),
    [
        ([], 1.0, None, "at least one number"),
        ([[0.5]], 1.0, None, r"shape \(1, 1\)"),
        ([0.5, 1.5], 1.0, None, "values must be probabilities"),
        ([float("nan")], 1.0, None, "values must be probabilities"),
        ([0.5], -1.0, None, "label -1.0"),
        ([0.5], float("nan"), None, "label nan"),
        ([0.5], 1.0, 2.0, "prior 2.0"),
    ],
)
def test_a_trajectory_holds_probabilities(
    values: list[float], label: float, prior: float | None, said: str
) -> None:
    """What no head gives is refused where it is made."""
    with pytest.raises(DataError, match=said):
        Trajectory("a", np.array(values), label, prior=prior)


def test_values_cannot_be_changed() -> None:
    """A record is shared by calibration and evaluation; the caller's array is copied."""
    own = fp32([0.5, 0.5])
    trajectory = Trajectory("a", own, 1.0)
    own[0] = 0.0

    assert trajectory.tokens == 2
    assert trajectory.values[0] == 0.5
    with pytest.raises(ValueError, match="read-only"):
        trajectory.values[0] = 0.0


def test_a_turned_trajectory_means_the_opposite() -> None:
    """Values, label and prior turn together."""
    turned = Trajectory("a", fp32([0.25, 1.0]), 1.0, prior=0.75, group="g").turned()

    assert turned.values.tolist() == [0.75, 0.0]
    assert (turned.label, turned.prior, turned.group) == (0.0, 0.25, "g")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "line 1 must be the header"),
        ([LINE], r"line 1 must be the header.*trajectories: missing"),
        ([{**FIRST, "scores": "good"}], "line 1.*scores = 'good'"),
        ([{**FIRST, "trajectories": 2}], "line 1.*trajectories = 2: must be 1"),
        ([{**FIRST, "settings": {"temprature": 1}}], "settings.temprature: unknown key; did you"),
        ([FIRST, LINE, {**LINE, "label": 2}], "line 3: label = 2"),
        (
            [FIRST, {**LINE, "values": [0.5, "a"]}],
            r"line 2: values = .* must be a list of at least one prob",
        ),
        ([FIRST, {**LINE, "values": [1.5]}], r"line 2: values = \[1.5\]: must be .* from 0 to 1"),
        ([FIRST, {"prompt_id": "a"}], "line 2: values: missing.*label: missing"),
        ([FIRST, {**LINE, "lable": 1}], "line 2: lable: unknown key"),
        ([FIRST, [1]], "line 2: the whole"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, lines: list[object], said: str) -> None:
    """With the file, the number of the line and what to put there."""
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    with pytest.raises(DataError, match=said) as caught:
        list(read_trajectories(path))

    assert str(path) in str(caught.value)


@pytest.mark.parametrize("line", [b"{", b"\xff", b'{"prompt_id": "a", "values": [NaN]}'])
def test_what_is_not_json_is_named_too(tmp_path: Path, line: bytes) -> None:
    """A file that was cut off among others."""
    path = tmp_path / "t.jsonl"
    path.write_bytes(json.dumps(FIRST).encode() + b"\n\n" + line)

    with pytest.raises(DataError, match="line 3 is not valid JSON"):
        list(read_trajectories(path))


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    """It says what was looked for."""
    with pytest.raises(DataError, match=r"none\.jsonl cannot be read"):
        read_header(tmp_path / "none.jsonl")


@pytest.mark.parametrize("value", ["1e300", "1" + "0" * 310, "-1e39"])
def test_a_value_beyond_fp32_is_named_with_its_line(tmp_path: Path, value: str) -> None:
    """Neither numpy's warning nor its error gets out."""
    path = tmp_path / "t.jsonl"
    lines = ['{"trajectories": 1, "scores": "p_good"}']
    lines.append(f'{{"prompt_id": "a", "values": [{value}], "label": 1}}')
    path.write_text("\n".join(lines), encoding="utf-8")

    with pytest.raises(DataError, match=r"line 2: values = .*must be"):
        list(read_trajectories(path))
