"""Keeping the prompts of calibration apart from those of training, and one response for each."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.calibration.numbers import number_of
from value_steer.errors import CalibrationError, DataError
from value_steer.records.files import replacing
from value_steer.records.lines import raw_lines

if TYPE_CHECKING:
    import os
    from collections.abc import Collection, Iterable, Sequence

    from value_steer.trajectories import Trajectory


def is_held_out(prompt_id: str, share: float, seed: int = 0) -> bool:
    """Whether a prompt belongs to the held-out share.

    It depends on the prompt and the seed only, so that capture, training and calibration agree
    without passing lists around, and a prompt keeps its side when others are added.

    Raises:
        CalibrationError: The share is not a number from 0 to 1.
    """
    number_of("share", share, 0, 1)
    return _position(prompt_id, seed) < share


def split_by_prompt(
    trajectories: Iterable[Trajectory], share: float, seed: int = 0
) -> tuple[list[Trajectory], list[Trajectory]]:
    """The held-out trajectories and the rest; all responses to a prompt are on one side.

    Args:
        trajectories: In any order, which is kept.
        share: Of the prompts to hold out, from 0 to 1.
        seed: Of the assignment.

    Raises:
        CalibrationError: One and the same prompt has several ids that lead to both sides, or the
            share is not a number from 0 to 1.
    """
    held_out: list[Trajectory] = []
    rest: list[Trajectory] = []
    for trajectory in trajectories:
        side = held_out if is_held_out(trajectory.prompt_id, share, seed) else rest
        side.append(trajectory)
    texts = {t.prompt for t in held_out if t.prompt is not None}
    both = {t.prompt_id: t for t in rest if t.prompt in texts}
    if both:
        msg = (
            f"{len(both)} prompts ({_named(both)}) are also held out, under other ids; give equal "
            "prompts equal ids"
        )
        raise CalibrationError(msg)
    return held_out, rest


def one_per_prompt(trajectories: Sequence[Trajectory], seed: int = 0) -> list[Trajectory]:
    """One response of each prompt, drawn by the seed.

    Responses to one prompt are not exchangeable with those to another, so a conformal bound counts
    each prompt once. Equal texts are one prompt, whatever their ids.
    """
    first = {t.prompt: t.prompt_id for t in reversed(trajectories) if t.prompt is not None}
    drawn: dict[str, tuple[float, Trajectory]] = {}
    for number, trajectory in enumerate(trajectories):
        lot = _position(f"{number} {trajectory.prompt_id}", seed)
        text = trajectory.prompt
        prompt = trajectory.prompt_id if text is None else first[text]
        best = drawn.get(prompt)
        if best is None or lot < best[0]:
            drawn[prompt] = (lot, trajectory)
    return [trajectory for _, trajectory in drawn.values()]


def refuse_training_prompts(
    trajectories: Iterable[Trajectory], training_prompts: Collection[str]
) -> None:
    """Refuse to calibrate on what the head was trained or early-stopped on.

    Raises:
        CalibrationError: Some prompts are in both; the first of them are named.
    """
    known = set(training_prompts)
    seen = dict.fromkeys(t.prompt_id for t in trajectories if t.prompt_id in known)
    if seen:
        msg = (
            f"{len(seen)} prompts of the calibration set were used in training ({_named(seen)}), "
            "where the head is better than it will be; calibrate on prompts that it has not seen"
        )
        raise CalibrationError(msg)


def training_prompts_file(head: str | os.PathLike[str]) -> Path:
    """The file beside a head that lists the prompts it was trained on, one id a line."""
    path = Path(head)
    return path.with_name(path.name + ".prompts.txt")


def write_training_prompts(head: str | os.PathLike[str], prompt_ids: Iterable[str]) -> None:
    """Note beside a head which prompts it was trained and early-stopped on.

    Raises:
        DataError: An id is no line of a file; see :func:`require_lines`.
    """
    names = sorted(set(prompt_ids))
    require_lines(names)
    with replacing(training_prompts_file(head)) as handle:
        handle.writelines(f"{name}\n".encode() for name in names)


def require_lines(prompt_ids: Iterable[str]) -> None:
    """Refuse ids that would be read back as others, so that calibration would not know them.

    Raises:
        DataError: One is empty, or has the end of a line in it.
    """
    odd = next((name for name in prompt_ids if not name or "\n" in name or name[-1] == "\r"), None)
    if odd is not None:
        msg = f"the prompt id {odd!r} is not one line of text; give the prompts other ids"
        raise DataError(msg)


def read_training_prompts(path: str | os.PathLike[str]) -> frozenset[str]:
    """The prompt ids of a file, one a line.

    Raises:
        DataError: The file cannot be read.
    """
    remedy = "give a text file with one prompt id a line"
    found = set()
    for line, number in raw_lines(Path(path), remedy):
        try:
            # With the line ends of Windows no id would be found among the trajectories'.
            name = line.rstrip(b"\r\n").decode()
        except UnicodeDecodeError as error:
            msg = f"{path}: line {number} is no text in UTF-8; {remedy}"
            raise DataError(msg) from error
        if "\0" in name or "\r" in name:
            # UTF-16, or lines that end as on old Macs: no id would be found here either.
            msg = f"{path}: line {number} holds a control character; {remedy}, in UTF-8"
            raise DataError(msg)
        found.add(name)
    return frozenset(found - {""})


def _named(ids: Iterable[str]) -> str:
    names = list(ids)
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")


def _position(text: str, seed: int) -> float:
    digest = hashlib.sha256(f"{seed} {text}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


_NAMED = 3
