"""The files that servers wrote, read as one head saw the answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from value_steer.calibration import AbstentionRule
from value_steer.errors import DataError
from value_steer.records.fields import (
    PROBABILITY,
    TEXT,
    Field,
    listed,
    member_of,
    one_of,
    optional,
    read,
    whole_from,
)
from value_steer.records.lines import parsed, raw_lines
from value_steer.threshold import is_probability
from value_steer.traffic import FORMAT, MODES, TrafficHead
from value_steer.value_probe import Polarity
from value_steer.value_probe.digest import weights_digest
from value_steer.value_probe.fingerprint import SettingsFingerprint, read_fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from value_steer.value_probe import ValueHead

_SUFFIXES = (".jsonl", ".jsonl.gz")
_REMEDY = "give the folder that additional_config.record.directory names"
_OF_MODE = {"abstain": Polarity.P_GOOD, "vfd": Polarity.P_UNDESIRABLE}


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """An answer of the control group, as the head saw it.

    Attributes:
        id: The request's id as its caller knows it.
        choice: Which of its answers this is, from 0.
        prompt_id: Digest of the prompt's tokens.
        values: In the head's own polarity, after each response token that can be acted on, shape
            ``[T]``, fp32; empty if there is none.
        prior: At the last position of the prompt; ``None`` where value filtering alone judged it.
        settings: How it was sampled, and by which engine.
    """

    id: str
    choice: int
    prompt_id: str
    values: NDArray[np.float32]
    prior: float | None
    settings: SettingsFingerprint

    @property
    def key(self) -> tuple[str, int]:
        """The identity of the answer."""
        return self.id, self.choice


@dataclass(frozen=True, slots=True)
class Traffic:
    """The recorded answers of a head.

    Attributes:
        answers: In the order of the files and their lines.
        scores: What their values mean.
        rule: How the servers' abstention was configured.
        files: How many were read.
        others: Answers that other heads judged.
        torn: Files whose last line was not written to its end, and is left out.
    """

    answers: tuple[Answer, ...]
    scores: Polarity
    rule: AbstentionRule
    files: int
    others: int
    torn: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of a file: whose values it holds, and of which answer."""

    head: TrafficHead
    answer: Answer


def read_traffic(folder: Path, head: ValueHead, rule: AbstentionRule | None = None) -> Traffic:
    """Read what the servers of a folder recorded of a head.

    Args:
        folder: Of their files.
        head: As its file has it.
        rule: How abstention is to be configured; ``None``: as the servers had it.

    Raises:
        DataError: A file or a line of it cannot be used, there are none, no answer is of this head,
            or the servers do not agree on what it scores or how it was used.
    """
    paths = sorted(p for p in folder.iterdir() if p.name.endswith(_SUFFIXES) and p.is_file())
    if not paths:
        msg = f"{folder} has no file of recorded traffic (.jsonl); {_REMEDY}"
        raise DataError(msg)
    digest = weights_digest(head)
    own: list[_Line] = []
    torn: list[Path] = []
    others = 0
    for path in paths:
        previous: _Line | None = None
        for line in _read(_whole_lines(path, torn)):
            if line.head.digest != digest:
                others += 1
            # The two modes of one answer stand side by side; one head may serve both.
            elif previous is None or not _is_other_mode(previous, line):
                own.append(line)
            previous = line
    if not own:
        msg = f"{folder} has {others} answers of other heads, and none of this one; {_REMEDY}"
        raise DataError(msg)
    scores = _scores(head, own, folder)
    answers = tuple(_turned(line, scores) for line in own)
    rule = rule or _rule(own, folder)
    return Traffic(answers, scores, rule, len(paths), others, tuple(torn))


def _is_other_mode(one: _Line, other: _Line) -> bool:
    same = one.answer.key == other.answer.key and one.head.digest == other.head.digest
    return same and one.head.mode != other.head.mode


def _whole_lines(path: Path, torn: list[Path]) -> Iterator[tuple[bytes, str]]:
    """The lines that were written to their ends; only the last one may not be."""
    empty = True
    for line, number in raw_lines(path, _REMEDY):
        empty = False
        if line.endswith(b"\n"):
            yield line, f"{path}: line {number}"
        else:
            torn.append(path)
    if empty:
        torn.append(path)


def _read(lines: Iterator[tuple[bytes, str]]) -> Iterator[_Line]:
    first = next(lines, None)
    if first is None:  # the server did not get as far as its first line
        return
    settings, heads = _header(*first)
    for text, at in lines:
        yield _line(parsed(text, at), at, settings, heads)


def _header(text: bytes, at: str) -> tuple[SettingsFingerprint, Sequence[TrafficHead]]:
    problems: list[str] = []
    known = read(parsed(text, at), _HEADER, "", problems, tuple(_HEADER))
    settings = read_fingerprint(known.get("settings", {}), "settings", problems)
    heads = []
    for place, body in enumerate(known.get("heads", ())):
        stated = read(body, _HEAD, f"heads[{place}]", problems, tuple(_HEAD))
        if len(stated) == len(_HEAD):
            heads.append(TrafficHead(**stated))
    if problems:
        msg = f"{at} is no header of recorded traffic; {_REMEDY}, and keep other files elsewhere: "
        raise DataError(msg + listed(problems))
    return settings, heads


def _line(
    body: object, at: str, settings: SettingsFingerprint, heads: Sequence[TrafficHead]
) -> _Line:
    problems: list[str] = []
    known = read(body, _ANSWER, "", problems, tuple(_ANSWER))
    if not problems and known["head"] >= len(heads):
        problems.append(f"head = {known['head']}: the header has {len(heads)}")
    if not problems:
        head = heads[known["head"]]
        expected = known["tokens"] + 1 - known["first"] - (head.mode == "abstain")
        if len(known["values"]) != expected:
            problems.append(f"values: has {len(known['values'])}, and {expected} belong there")
    if problems:
        msg = f"{at}: {listed(problems)}; leave the line out"
        raise DataError(msg)
    return _Line(head, _answer(known, settings))


def _answer(known: dict[str, Any], settings: SettingsFingerprint) -> Answer:
    values = np.array(known["values"], np.float32)
    has_prior = known["first"] == 0
    return Answer(
        id=known["id"],
        choice=known["choice"],
        prompt_id=known["prompt_id"],
        values=values[1:] if has_prior else values,
        prior=float(values[0]) if has_prior else None,
        settings=replace(settings, **{name: known[name] for name in _SAMPLING}),
    )


def _turned(line: _Line, scores: Polarity) -> Answer:
    """An answer in the head's own polarity."""
    answer = line.answer
    if _OF_MODE[line.head.mode] is scores:
        return answer
    prior = None if answer.prior is None else 1.0 - answer.prior
    return replace(answer, values=1 - answer.values, prior=prior)


def _scores(head: ValueHead, lines: Sequence[_Line], folder: Path) -> Polarity:
    stated = {line.head.scores for line in lines}
    if head.card.scores is not None:
        stated.add(head.card.scores)
    if len(stated) > 1:
        msg = (
            f"{folder}: its servers and the head's sidecar do not agree on what the head scores "
            f"({', '.join(sorted(stated))}); correct scores, and leave wrong files out"
        )
        raise DataError(msg)
    (scores,) = stated
    return scores


def _rule(lines: Sequence[_Line], folder: Path) -> AbstentionRule:
    rules = {(line.head.min_tokens, line.head.patience) for line in lines}
    if len(rules) > 1:
        told = "; ".join(f"min_tokens {first}, patience {run}" for first, run in sorted(rules))
        msg = (
            f"{folder}: its servers had different settings of abstention ({told}); say with "
            "--min-tokens and --patience which ones you will serve with"
        )
        raise DataError(msg)
    ((min_tokens, patience),) = rules
    return AbstentionRule(max(1, min_tokens), patience)


def _is_probabilities(value: object) -> bool:
    return isinstance(value, list) and all(map(is_probability, value))


_LIST = Field(lambda value: isinstance(value, list), "a list")
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "max_tokens")
_AMOUNT = Field(
    lambda v: isinstance(v, (int, float)) and not isinstance(v, bool) and 0 <= v <= 1e6,
    "a number from 0 on",
    float,
)
_HEADER = {
    "traffic": Field(lambda v: v == FORMAT and not isinstance(v, bool), f"{FORMAT}"),
    "share": PROBABILITY,
    "settings": Field(lambda value: isinstance(value, dict), "an object"),
    "heads": _LIST,
}
_HEAD = {
    "mode": one_of(*MODES),
    "name": TEXT,
    "digest": TEXT,
    "scores": member_of(Polarity),
    "min_tokens": whole_from(0),
    "patience": whole_from(1),
}
_ANSWER = {
    "id": TEXT,
    "choice": whole_from(0),
    "prompt_id": TEXT,
    "head": whole_from(0),
    "first": whole_from(0, 1),
    "values": Field(_is_probabilities, "a list of probabilities, from 0 to 1"),
    "tokens": whole_from(1),
    "finish": one_of("stop", "length"),
    "temperature": _AMOUNT,
    "top_p": PROBABILITY,
    "top_k": whole_from(0),
    "min_p": PROBABILITY,
    "max_tokens": optional(whole_from(1)),
}
