"""Value trajectories: what a head said along finished responses, and the file that keeps them.

The file is JSON Lines: one line that says what the values mean and how the responses were
generated, then one line for each trajectory.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from value_steer.errors import DataError
from value_steer.records.fields import PROBABILITY, TEXT, Field, member_of, optional, read, shown
from value_steer.records.files import replacing
from value_steer.records.lines import json_lines
from value_steer.threshold import is_probability
from value_steer.value_probe.card import Polarity
from value_steer.value_probe.fingerprint import SettingsFingerprint, read_fingerprint

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

FORMAT = 1
"""Version of the file's format."""

_REMEDY = "give the path of a file of trajectories"


@dataclass(frozen=True, slots=True)
class TrajectoryHeader:
    """Properties that all trajectories of a file share.

    Attributes:
        scores: What a value and a label of 1 mean.
        settings: How the responses were generated, if that is known.
        head: Digest of the weights that gave the values, if that is known.
    """

    scores: Polarity
    settings: SettingsFingerprint | None = None
    head: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Trajectory:
    """One finished response of the unsteered model, as a head saw it.

    Attributes:
        prompt_id: Which prompt; responses to one prompt share it.
        values: The head's probability after each response token in the head's own polarity,
            shape ``[T]``, fp32, read-only.
        label: How far what the head scores came true, from 0 to 1: with a head of P(good) 1 is a
            correct or safe response, with one of P(undesirable) 1 is a wrong or unsafe one.
        prior: The head's probability at the last position of the prompt, which the martingale
            rule needs.
        group: Category within which a threshold may be calibrated on its own.
        prompt: Text of the prompt.
        response: Text of the response.

    Raises:
        DataError: There are no values, or one of the numbers is not in [0, 1].
    """

    prompt_id: str
    values: NDArray[np.float32]
    label: float
    prior: float | None = None
    group: str | None = None
    prompt: str | None = None
    response: str | None = None

    def __post_init__(self) -> None:
        try:
            with np.errstate(over="ignore"):  # infinity is refused below
                values = np.array(_real(self.values), dtype=np.float32)
        # RuntimeError is what torch raises for a tensor that numpy cannot share.
        except (OverflowError, TypeError, ValueError, RuntimeError) as error:
            msg = f"values must be a list of numbers ({error})"
            raise DataError(msg) from error
        if values.ndim != 1 or values.size == 0:
            msg = f"values must be a list of at least one number, got shape {values.shape}"
            raise DataError(msg)
        # Written so that it also catches what is not a number.
        if not ((values >= 0) & (values <= 1)).all():
            msg = "values must be probabilities, numbers from 0 to 1"
            raise DataError(msg)
        if not is_probability(self.label) or not (self.prior is None or is_probability(self.prior)):
            label, prior = shown(self.label), shown(self.prior)
            msg = f"label {label} and prior {prior} must be numbers from 0 to 1"
            raise DataError(msg)
        values.setflags(write=False)
        object.__setattr__(self, "values", values)

    @property
    def tokens(self) -> int:
        """Number of response tokens."""
        return len(self.values)

    def turned(self) -> Trajectory:
        """The same response in the opposite polarity."""
        prior = None if self.prior is None else 1.0 - self.prior
        return replace(self, values=1 - self.values, label=1.0 - self.label, prior=prior)


def write_trajectories(
    path: str | os.PathLike[str], header: TrajectoryHeader, trajectories: Iterable[Trajectory]
) -> None:
    """Write a file of trajectories, one after the other; the file is replaced atomically."""
    first = {"trajectories": FORMAT, **asdict(header)}
    with replacing(Path(path)) as handle:
        handle.write(_line(first))
        for trajectory in trajectories:
            body = {field.name: getattr(trajectory, field.name) for field in fields(trajectory)}
            handle.write(_line({**body, "values": trajectory.values.tolist()}))


def read_header(path: str | os.PathLike[str]) -> TrajectoryHeader:
    """The first line of a file of trajectories.

    Raises:
        DataError: The file cannot be read or does not start with a header.
    """
    body, at = next(json_lines(Path(path), _REMEDY), ({}, f"{path}: line 1"))
    problems: list[str] = []
    known = read(body, _HEADER, "", problems, ("trajectories", "scores"))
    settings = known.get("settings")
    if settings is not None:
        settings = read_fingerprint(settings, "settings", problems)
    if problems:
        msg = f'{at} must be the header, such as {{"trajectories": 1, "scores": "p_good"}}: '
        raise DataError(msg + "; ".join(problems))
    return TrajectoryHeader(known["scores"], settings, known.get("head"))


def read_trajectories(path: str | os.PathLike[str]) -> Iterator[Trajectory]:
    """The trajectories of a file, one after the other.

    Raises:
        DataError: Names the file, the line and what is wrong there.
    """
    read_header(path)
    lines = json_lines(Path(path), _REMEDY)
    next(lines)
    for body, at in lines:
        yield _trajectory(body, at)


def _trajectory(body: object, at: str) -> Trajectory:
    problems: list[str] = []
    known = read(body, _TRAJECTORY, "", problems, ("prompt_id", "values", "label"))
    if problems:
        msg = f"{at}: {'; '.join(problems)}"
        raise DataError(msg)
    return Trajectory(**known)


def _real(values: NDArray[np.float32]) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "fiub":
        msg = f"they are {array.dtype}"
        raise TypeError(msg)
    return array


def _line(body: object) -> bytes:
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def _is_probabilities(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(is_probability, value))


_HEADER = {
    "trajectories": Field(lambda v: v == FORMAT and not isinstance(v, bool), f"{FORMAT}"),
    "scores": member_of(Polarity),
    "settings": optional(Field(lambda v: isinstance(v, dict), "an object")),
    "head": optional(TEXT),
}
_TRAJECTORY = {
    "prompt_id": TEXT,
    "values": Field(_is_probabilities, "a list of at least one probability, from 0 to 1"),
    "label": PROBABILITY,
    "prior": optional(PROBABILITY),
    "group": optional(TEXT),
    "prompt": optional(TEXT),
    "response": optional(TEXT),
}
