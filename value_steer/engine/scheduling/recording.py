"""Recording the answers of the control group, where the scheduler is.

A record never ends a request: whatever goes wrong is said once, and nothing is recorded any more.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from value_steer.config import parse_settings
from value_steer.engine.scheduling.outcomes import callers_id
from value_steer.errors import SettingsError
from value_steer.records.files import unwritable
from value_steer.traffic import (
    RecordedAnswer,
    TrafficHead,
    TrafficHeader,
    answer_line,
    header_line,
)
from value_steer.value_probe import Polarity, load_value_head
from value_steer.value_probe.digest import weights_digest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from vllm.config import VllmConfig

    from value_steer.config import AbstainSettings, RecordSettings, SteerSettings, VfdSettings
    from value_steer.engine.scheduling.sums import Running

logger = logging.getLogger("value_steer")

_COMPLETE = ("stop", "length")
"""Why a whole answer ends, in the words of the host."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Counts of a recording: answers that were recorded, and errors."""

    answers: int = 0
    errors: int = 0


_NOTHING = Recording()


class Recorder:
    """Appends answers to a file of its own.

    Args:
        path: Of the file, which must not be there.
        header: Its first line.
        max_bytes: What the file may have.

    Raises:
        OSError: The file cannot be made.
    """

    def __init__(self, path: Path, header: TrafficHeader, max_bytes: int) -> None:
        self._path = path
        self._left = max_bytes
        self._ended = False
        self._places = _places(header)
        with path.open("xb"):
            pass
        self._write(header_line(header))

    def record(self, one: Running, request: Any) -> Recording:
        """Take in a request that has ended, with which nothing was done.

        Args:
            one: What was seen of it.
            request: The scheduler's.
        """
        if not one.admitted.control or self._ended:
            return _NOTHING
        # Nothing that happens here may end a request, whatever it is.
        try:
            content = b"".join(map(answer_line, self._answers(one, request)))
            if len(content) > self._left:
                logger.warning("%s has as many bytes as it may; recording has ended", self._path)
                self._ended = True
                return _NOTHING
            self._write(content)
        except Exception as error:  # noqa: BLE001
            logger.error("%s: recording has ended (%s)", self._path, error)  # noqa: TRY400
            self._ended = True
            return Recording(errors=1)
        return Recording(answers=int(bool(content)))

    def _write(self, content: bytes) -> None:
        """In one piece, so that a server that is killed tears one line at most."""
        # A file that was moved away would begin again without its first line.
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            written = os.write(descriptor, content)
        finally:
            os.close(descriptor)
        self._left -= written
        if written < len(content):
            msg = "no room for a whole line"
            raise OSError(msg)

    def _answers(self, one: Running, request: Any) -> Iterator[RecordedAnswer]:
        """Each mode's scores of an answer, where they are those of the whole answer."""
        finish, params = str(request.get_finished_reason()), request.sampling_params
        if finish not in _COMPLETE:
            return
        name, choice = callers_id(request.request_id)
        tokens = request.num_output_tokens
        for mode, head, first, values in _seen(one, request.num_prompt_tokens, tokens):
            yield RecordedAnswer(
                id=name,
                choice=choice,
                prompt_id=_prompt_id(request.prompt_token_ids),
                head=self._places[mode, head],
                first=first,
                values=tuple(float(str(value)) for value in np.asarray(values, np.float32)),
                tokens=tokens,
                finish=finish,
                temperature=float(params.temperature),
                top_p=float(params.top_p),
                top_k=max(0, params.top_k),
                min_p=float(params.min_p),
                max_tokens=params.max_tokens,
            )


def _seen(one: Running, prompt: int, tokens: int) -> Iterator[tuple[str, int, int, list[float]]]:
    """Mode, head, place of the first value, and the values, where none of them is missing."""
    admitted = one.admitted
    if admitted.threshold is not None:
        first, last = one.first_judged_at - prompt, one.judged_at - prompt
        if first in {0, 1} and last - first + 1 == len(one.values) and last >= tokens - 1:
            # Value filtering runs a step after the last token, in which nothing can end any more.
            yield "abstain", admitted.head, first, one.values[: tokens - first]
    if admitted.vfd_threshold is not None and len(one.undesirable) == tokens:
        yield "vfd", admitted.vfd_head, 1, one.undesirable


def _places(header: TrafficHeader) -> dict[tuple[str, int], int]:
    """Place in the header by mode and by the head's place in its mode."""
    places: dict[tuple[str, int], int] = {}
    for place, head in enumerate(header.heads):
        places[head.mode, sum(mode == head.mode for mode, _ in places)] = place
    return places


def _prompt_id(tokens: list[int]) -> str:
    return hashlib.sha256(np.array(tokens, dtype="<i8").tobytes()).hexdigest()[:32]


def open_recorder(config: VllmConfig) -> Recorder | None:
    """The recorder of an engine; ``None`` if it records nothing.

    Raises:
        SettingsError: The directory cannot be used.
    """
    if "record" not in config.additional_config:
        return None
    settings = parse_settings(config.additional_config)
    record, heads = settings.record, tuple(_heads(settings))
    if record is None or not heads:
        return None
    check_directory(record)
    header = TrafficHeader(record.share, _host().fingerprint(config.model_config), heads)
    path = record.directory / f"{config.instance_id}-{os.getpid()}.jsonl"
    try:
        return Recorder(path, header, record.max_bytes)
    except OSError as error:
        raise _unusable(record, str(error)) from error


def _host() -> Any:
    """The module that knows the host; the ledger works without one."""
    return import_module("value_steer.engine.host")


def check_directory(record: RecordSettings) -> None:
    """Check the directory of records before anything that takes long.

    Raises:
        SettingsError: It is none, or nothing can be written there.
    """
    if not record.directory.is_dir():
        raise _unusable(record, "there is no such folder; make it first")
    if (problem := unwritable(record.directory)) is not None:
        raise _unusable(record, problem)


def _unusable(record: RecordSettings, problem: str) -> SettingsError:
    return SettingsError(f"additional_config.record.directory = {record.directory}: {problem}")


def _heads(settings: SteerSettings) -> Iterator[TrafficHead]:
    """The heads of the enabled modes, as they are told apart by their places."""
    abstain, vfd = settings.abstain, settings.vfd
    if abstain is not None and abstain.enabled:
        rule = abstain.min_tokens, abstain.patience
        for name, one in {"": abstain, **abstain.heads}.items():
            yield TrafficHead("abstain", name, *_weights(one, Polarity.P_GOOD), *rule)
    if vfd is not None and vfd.enabled:
        for name, filtering in {"": vfd, **vfd.heads}.items():
            yield TrafficHead("vfd", name, *_weights(filtering, Polarity.P_UNDESIRABLE))


def _weights(one: AbstainSettings | VfdSettings, wants: Polarity) -> tuple[str, Polarity]:
    """The digest of a head, and what it is taken to score."""
    head = load_value_head(one.value_head_path)
    return weights_digest(head), one.scores or head.card.scores or wants
