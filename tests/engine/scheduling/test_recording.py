"""The answers of the control group, as they are written down."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from value_steer.engine.delivery.report import Admitted, Ending, StepReport
from value_steer.engine.scheduling.ledger import Ledger
from value_steer.engine.scheduling.recording import Recorder, Recording
from value_steer.traffic import TrafficHead, TrafficHeader
from value_steer.value_probe import Polarity, SettingsFingerprint

if TYPE_CHECKING:
    from pathlib import Path

    from value_steer.engine.scheduling.sums import Running

HEADS = (
    TrafficHead("abstain", "", "a1", Polarity.P_GOOD, 4, 2),
    TrafficHead("abstain", "code", "a2", Polarity.P_UNDESIRABLE, 4, 2),
    TrafficHead("vfd", "", "v1", Polarity.P_UNDESIRABLE),
)
HEADER = TrafficHeader(0.25, SettingsFingerprint(model="m", dtype="bfloat16"), HEADS)
CONTROL = Admitted(threshold=0.5, vfd_threshold=0.25, control=True)
PROMPT = [7, 8, 9]
MOST = 1 << 20


def _recorder(tmp_path: Path, most: int = MOST) -> tuple[Recorder, Path]:
    path = tmp_path / "engine-1.jsonl"
    return Recorder(path, HEADER, most), path


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def _running(
    good: list[float] | None,
    undesirable: list[float] | None,
    admitted: Admitted = CONTROL,
    first: int = 0,
) -> Running:
    """A request that was judged so, P(good) from this token of its response on."""
    ledger = Ledger()
    ledger.take(StepReport(admitted={"a": admitted}), ["a"])
    for at, value in enumerate(good or (), len(PROMPT) + first):
        values = np.array([value], np.float32)
        ledger.take(StepReport(p_good=values, positions=np.array([at])), ["a"])
    for value in undesirable or ():
        ledger.take(StepReport(p_undesirable=np.array([value], np.float32)), ["a"])
    one = ledger.running("a")
    assert one is not None
    return one


def _request(tokens: int, finish: str = "stop", name: str = "2_cmpl-abc-01234567") -> Any:
    params = SimpleNamespace(temperature=0.5, top_p=1.0, top_k=-1, min_p=0.0, max_tokens=9)
    return SimpleNamespace(
        request_id=name,
        arrival_time=0.0,
        num_output_tokens=tokens,
        num_prompt_tokens=len(PROMPT),
        prompt_token_ids=PROMPT,
        sampling_params=params,
        get_finished_reason=lambda: finish,
    )


def test_an_answer_has_a_line_for_each_mode(tmp_path: Path) -> None:
    """With its values as the engine had them, and how it was sampled; no text, and no tokens."""
    recorder, path = _recorder(tmp_path)

    made = recorder.record(_running([0.1, 0.5, 0.75], [0.25, 0.125, 0.3]), _request(3))

    header, abstention, filtering = _lines(path)
    assert made == Recording(answers=1)
    assert header["traffic"] == 1
    assert header["settings"]["dtype"] == "bfloat16"
    assert [(head["mode"], head["name"], head["digest"]) for head in header["heads"]] == [
        ("abstain", "", "a1"),
        ("abstain", "code", "a2"),
        ("vfd", "", "v1"),
    ]
    assert (header["heads"][0]["min_tokens"], header["heads"][0]["patience"]) == (4, 2)
    common = {"id": "cmpl-abc", "choice": 2, "tokens": 3, "finish": "stop", "temperature": 0.5}
    common |= {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "max_tokens": 9}
    common |= {"prompt_id": abstention["prompt_id"]}
    assert abstention == {**common, "head": 0, "first": 0, "values": [0.1, 0.5, 0.75]}
    assert filtering == {**common, "head": 2, "first": 1, "values": [0.25, 0.125, 0.3]}
    assert len(abstention["prompt_id"]) == 32


def test_prompts_are_told_apart_by_their_tokens(tmp_path: Path) -> None:
    """Answers to one prompt share an id, whichever engine wrote it down."""
    recorder, path = _recorder(tmp_path)
    other = _request(1)
    other.prompt_token_ids = [7, 8, 10]
    for request in (_request(1), _request(1, "length"), other):
        recorder.record(_running([0.5], None), request)

    _, first, second, third = _lines(path)
    assert first["prompt_id"] == second["prompt_id"] == "0dbcb41a913242dbecb3f46d3e5bcee9"
    assert third["prompt_id"] != first["prompt_id"]


def test_a_value_after_the_last_token_decides_nothing(tmp_path: Path) -> None:
    """Value filtering runs the step that has it; an engine that only abstains does not."""
    recorder, path = _recorder(tmp_path)

    recorder.record(_running([0.5, 0.25, 0.75, 0.875], None), _request(3))
    recorder.record(_running([0.5, 0.25, 0.75], None), _request(3))

    assert [line["values"] for line in _lines(path)[1:]] == [[0.5, 0.25, 0.75]] * 2


@pytest.mark.parametrize("values", [[0.5, 0.25], [0.5, 0.25, 0.75]])
def test_an_answer_may_be_judged_from_its_first_token_on(
    tmp_path: Path, values: list[float]
) -> None:
    """Where the engine does not judge prompts; its first place says so."""
    recorder, path = _recorder(tmp_path)

    recorder.record(_running(values, None, first=1), _request(3))

    assert [(line["first"], line["values"]) for line in _lines(path)[1:]] == [(1, [0.5, 0.25])]


@pytest.mark.parametrize(
    ("running", "request_"),
    [
        (_running([0.5, 0.5], [0.5, 0.5], replace(CONTROL, control=False)), _request(2)),
        (_running([0.5, 0.5], [0.5, 0.5]), _request(2, "abort")),
        (_running([0.5, 0.5], [0.5, 0.5]), _request(2, "None")),
        (_running([0.5, 0.5], [0.5]), _request(3)),
        (_running([0.5, np.nan, 0.5], [0.5, np.nan, 0.5]), _request(3)),
        (_running([np.nan, np.nan, 0.5], None), _request(3)),
        (_running([0.5, 0.5], None, first=2), _request(3)),
        (_running(None, None), _request(2)),
        (_running([0.5] * 3, [0.5] * 3, Admitted(control=True, keeps_values=True)), _request(3)),
    ],
    ids=[
        "no control",
        "aborted",
        "not finished",
        "values are missing at the end",
        "a value amid them is no number",
        "the first ones are missing",
        "judged too late",
        "never judged",
        "left alone",
    ],
)
def test_what_is_not_all_of_a_whole_answer_is_left_out(
    tmp_path: Path, running: Running, request_: Any
) -> None:
    """Nothing of it is written."""
    recorder, path = _recorder(tmp_path)

    assert recorder.record(running, request_) == Recording()
    assert len(_lines(path)) == 1


def test_a_head_is_named_by_its_place_in_its_mode(tmp_path: Path) -> None:
    """A mode that has none of a request's name has its first."""
    recorder, path = _recorder(tmp_path)

    recorder.record(_running([0.5], [0.5], replace(CONTROL, head=1)), _request(1))

    assert [line["head"] for line in _lines(path)[1:]] == [1, 2]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), 10])
def test_a_failing_write_ends_recording_and_no_request(
    tmp_path: Path,
    error: OSError | int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A full disk takes nothing, or a part of a line; it is said once, and counted."""
    recorder, path = _recorder(tmp_path)
    recorder.record(_running([0.5], None), _request(1))
    whole, write = path.read_bytes(), os.write

    def fails(descriptor: int, content: bytes) -> int:
        if isinstance(error, OSError):
            raise error
        return write(descriptor, content[:error])

    monkeypatch.setattr(os, "write", fails)
    made = [recorder.record(_running([0.5], None), _request(1)) for _ in range(3)]

    assert made == [Recording(errors=1), Recording(), Recording()]
    assert path.read_bytes().startswith(whole)
    why = error if isinstance(error, OSError) else "no room for a whole line"
    assert caplog.messages == [f"{path}: recording has ended ({why})"]


def test_a_file_that_was_taken_away_is_not_begun_anew(tmp_path: Path) -> None:
    """It would have no first line."""
    recorder, path = _recorder(tmp_path)
    path.rename(tmp_path / "taken")

    assert recorder.record(_running([0.5], None), _request(1)) == Recording(errors=1)
    assert not path.exists()


def test_a_file_has_no_more_than_it_may(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The answer that has no room is left out, and so are all that come; it is said once."""
    most = 3000
    recorder, path = _recorder(tmp_path, most)

    made = [recorder.record(_running([0.5] * 40, None), _request(40)) for _ in range(30)]

    count = sum(one.answers for one in made)
    assert 0 < count < 30
    assert made == [*[Recording(1)] * count, *[Recording()] * (30 - count)]
    assert most - 600 < path.stat().st_size <= most
    assert len(_lines(path)) == count + 1
    assert caplog.messages == [f"{path} has as many bytes as it may; recording has ended"]


@pytest.mark.parametrize(("spare", "answers"), [(0, 1), (-1, 0)])
def test_an_answer_may_take_what_is_left(tmp_path: Path, spare: int, answers: int) -> None:
    """To the last byte."""
    recorder, path = _recorder(tmp_path)
    recorder.record(_running([0.5], None), _request(1))
    size = path.stat().st_size
    path.unlink()
    recorder, path = _recorder(tmp_path, size + spare)

    assert recorder.record(_running([0.5], None), _request(1)) == Recording(answers=answers)
    assert len(_lines(path)) == 1 + answers


def test_a_file_that_is_there_is_not_written_to(tmp_path: Path) -> None:
    """Two engines never share one."""
    _recorder(tmp_path)
    with pytest.raises(FileExistsError):
        _recorder(tmp_path)


def test_the_ledger_counts_controls_and_what_became_of_them() -> None:
    """They are neither steered nor exempt; what they say of themselves keeps its thresholds."""
    ledger = Ledger()
    ledger.take(StepReport(admitted={"a": CONTROL, "b": Admitted(0.5)}), ["a", "b"])
    ledger.count_recording(Recording(answers=1))
    ledger.count_recording(Recording(errors=1))

    control, steered = ledger.close("a", None, 3, 0.0), ledger.close("b", Ending.ABSTAINED, 3, 0.0)

    assert control is not None
    assert steered is not None
    assert (control.control, control.steered, control.threshold) == (True, False, 0.5)
    assert (control.values, control.undesirable) == (None, None)
    assert (steered.control, steered.steered) == (False, True)
    counters = ledger.counters
    assert (counters.controls, counters.exempt, counters.finished) == (1, 0, 2)
    assert (counters.recorded, counters.swallowed_errors) == (1, 1)
