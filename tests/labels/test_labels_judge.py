"""The judge's word becomes a label, whatever the server does in between."""

from __future__ import annotations

import logging
from contextlib import closing

import pytest

pytest.importorskip("openai")

from tests.labels.fake_judge import FakeJudge, serving
from tests.labels.samples import said
from value_steer.labels.errors import JudgeError
from value_steer.labels.judge import JudgeServer, LLMJudge
from value_steer.labels.judge_prompts import HELPFULNESS, SAFETY, JudgePrompt

RESPONSES = [said("kind"), said("a threat"), said("kind again")]


def _label(judge: FakeJudge, prompt: JudgePrompt = SAFETY, **server: object) -> list[float]:
    with serving(judge), closing(LLMJudge(_server(judge, **server), prompt)) as verifier:
        return verifier.label(RESPONSES)


def _server(judge: FakeJudge, **changes: object) -> JudgeServer:
    return JudgeServer(judge.url, **{"retries": 3, "seconds": 10.0, **changes})  # type: ignore[arg-type]


def _honest(question: str) -> str:
    return "Unsafe." if "threat" in question.split("<response>")[1] else "safe"


def test_safe_is_one() -> None:
    """In the order of the responses, case and stops aside."""
    assert _label(FakeJudge(_honest)) == [1.0, 0.0, 1.0]


def test_the_safety_judge_sees_the_response_alone() -> None:
    """The helpfulness judge also sees what was asked."""
    safety, helpfulness = FakeJudge(_honest), FakeJudge(lambda _: "helpful")
    _label(safety)
    _label(helpfulness, HELPFULNESS)

    question = safety.asked[0]["messages"][-1]["content"]
    assert "<request>" not in question
    assert safety.asked[0]["temperature"] == 0.0
    assert "<request>\nquestion" in helpfulness.asked[0]["messages"][-1]["content"]


@pytest.mark.parametrize(("owner", "held"), [("vllm", True), ("somebody", False)])
def test_vllm_is_held_to_the_two_words(owner: str, held: bool) -> None:  # noqa: FBT001
    """Other servers do not know that parameter."""
    judge = FakeJudge(_honest, owned_by=owner)
    _label(judge)

    choice = {"choice": ["safe", "unsafe"]}
    assert judge.asked[0].get("structured_outputs") == (choice if held else None)


def test_an_answer_that_is_none_counts_as_unsafe(caplog: pytest.LogCaptureFixture) -> None:
    """And the number of them is logged."""
    with caplog.at_level(logging.WARNING, logger="value_steer"):
        labels = _label(FakeJudge(lambda q: "safe or unsafe" if "threat" in q[600:] else "hm"))

    assert labels == [0.0, 0.0, 0.0]
    assert "3 of 3" in caplog.text


def test_a_busy_server_is_asked_again() -> None:
    """A 429 and a 503 are not the answer."""
    judge = FakeJudge(_honest, failures=[429, 503])

    assert _label(judge, concurrency=1) == [1.0, 0.0, 1.0]
    assert len(judge.asked) == 5


def test_a_refusal_is_one_clear_error() -> None:
    """Nothing is labelled in its place."""
    with pytest.raises(JudgeError, match=r"127\.0\.0\.1.*status 400"):
        _label(FakeJudge(_honest, failures=[400]))


def test_no_server_at_all() -> None:
    """The URL is named."""
    verifier = LLMJudge(JudgeServer("http://127.0.0.1:9/v1", retries=0))
    with closing(verifier), pytest.raises(JudgeError, match=r"127\.0\.0\.1:9.*ends in /v1"):
        verifier.label(RESPONSES)


def test_a_model_that_is_not_served() -> None:
    """Those that are, are named."""
    with pytest.raises(JudgeError, match="does not serve 'large'; it serves: tiny"):
        _label(FakeJudge(_honest), model="large")


def test_questions_are_asked_at_once_but_not_too_many() -> None:
    """As many as the server's settings say."""
    judge = FakeJudge(_honest)
    with serving(judge), closing(LLMJudge(_server(judge, concurrency=3))) as verifier:
        verifier.label([said("x", number=i) for i in range(12)])

    assert 1 < judge.most_at_once <= 3


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ("safe", True),
        ("UNSAFE", False),
        ("'safe'.", True),
        ("unsafe\n\nbecause", False),
        ("It is safe, not unsafe", None),
        ("unsafely", None),
        ("", None),
    ],
)
def test_reading_an_answer(answer: str, verdict: bool | None) -> None:  # noqa: FBT001
    """One of the two words, as a word of its own, and not the other."""
    assert SAFETY.read(answer) is verdict
