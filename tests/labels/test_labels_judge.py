"""The judge's word becomes a label, whatever the server does in between."""

from __future__ import annotations

import json
import logging
from contextlib import closing

import pytest

from tests.labels.fake_judge import FakeJudge, serving
from tests.labels.samples import said
from value_steer.labels.errors import JudgeError
from value_steer.labels.judge import JudgeServer, LLMJudge
from value_steer.labels.judge_prompts import HELPFULNESS, SAFETY, JudgePrompt
from value_steer.labels.replies import Form, read_reply

RESPONSES = [said("kind"), said("a threat"), said("kind again")]


def _label(judge: FakeJudge, prompt: JudgePrompt = SAFETY, **server: object) -> list[float | None]:
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


@pytest.mark.parametrize("owner", ["vllm", "somebody"])
def test_a_server_is_held_to_the_two_words(owner: str) -> None:
    """By a choice if it is vLLM, else by a schema."""
    judge = FakeJudge(_honest, owned_by=owner)
    _label(judge)

    choice, schema = (judge.asked[0].get(key) for key in ("structured_outputs", "response_format"))
    if owner == "vllm":
        assert (choice, schema) == ({"choice": ["safe", "unsafe"]}, None)
    else:
        assert choice is None
        assert schema is not None
        verdict = schema["json_schema"]["schema"]["properties"]["verdict"]
        assert verdict == {"type": "string", "enum": ["safe", "unsafe"]}


def test_free_text_is_the_last_resort() -> None:
    """Where the server refuses the schema; it is not asked for it again and again."""
    judge = FakeJudge(_honest, refuses=frozenset({"response_format"}))

    assert _label(judge, concurrency=1) == [1.0, 0.0, 1.0]
    assert [("response_format" in body) for body in judge.asked] == [True, False, False, False]


def test_a_schema_gives_json() -> None:
    """Which is read as such."""
    judge = FakeJudge(lambda q: json.dumps({"verdict": _honest(q).lower().strip(".")}))

    assert _label(judge, form=Form.JSON) == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("said", "logprobs", "label"),
    [
        ("safe", {"safe": -0.1, "un": -3.0}, 1.0),
        ("Unsafe, since", {" Un": -0.2, "safe": -2.0, "s": -4.0}, 0.0),
        ("not", {"not": -0.1, "safe": -3.0}, None),
        ("safe", {"": -0.1, "safe": -3.0}, None),
        ("safe", {"safe": -0.7, "unsafe": -0.7}, None),
        ("safe", {"safe": 3.0}, None),
        ("Unable to say", {"Un": -0.1, "safe": -3.0}, None),
        ("safe", {"un": -0.2, "safe": -2.0}, None),
        ("safe-ish", {"safe": -0.1}, None),
    ],
)
def test_the_likelier_word(said: str, logprobs: dict[str, float], label: float | None) -> None:
    """If the first token is one of the two words, or begins it, for the greater part."""
    judge = FakeJudge(lambda _: said, logprobs=logprobs, finish="length")

    assert _label(judge, form=Form.LOGPROBS) == [label] * 3
    assert judge.asked[0]["top_logprobs"] == 20


def test_a_token_that_begins_another_word_is_no_verdict() -> None:
    """*In* begins *incorrect*, and *in my view it is correct*."""
    top = [{"token": "In", "logprob": -0.1}, {"token": "correct", "logprob": -3.0}]
    choice = {
        "message": {"content": "In my view it is correct"},
        "finish_reason": "length",
        "logprobs": {"content": [{"top_logprobs": top}]},
    }
    body = json.dumps({"choices": [choice]}).encode()

    assert read_reply(body, Form.LOGPROBS, "correct", "incorrect").verdict is None


@pytest.mark.parametrize(
    "judge",
    [
        FakeJudge(lambda _: None, finish="length"),
        FakeJudge(lambda _: ""),
        FakeJudge(lambda _: "<think>It looks safe"),
        FakeJudge(lambda _: "safe", finish="length"),
        FakeJudge(lambda _: "safe", finish="content_filter"),
        *(FakeJudge(lambda _: "safe", finish=end) for end in ("model_length", "MAX_TOKENS")),
        *(FakeJudge(lambda _: "safe", finish=end) for end in ("abort", "error")),
        FakeJudge(lambda _: "safe or unsafe"),
        FakeJudge(lambda _: "", raw={"choices": []}),
        FakeJudge(lambda _: "", raw={"choices": None}),
        FakeJudge(lambda _: "", raw=[1]),
        FakeJudge(lambda _: "", raw={"choices": [{"message": {"content": ["safe"]}}]}),
        FakeJudge(
            lambda _: "", raw={"choices": [{"message": {"content": "safe", "refusal": "no"}}]}
        ),
    ],
)
def test_what_cannot_be_read_is_no_label(
    judge: FakeJudge, caplog: pytest.LogCaptureFixture
) -> None:
    """Of neither kind, and what was said is logged."""
    with caplog.at_level(logging.WARNING, logger="value_steer"):
        labels = _label(judge)

    assert labels == [None, None, None]
    assert "3 of 3 answers" in caplog.text


def test_settings_say_what_decides() -> None:
    """The model, the question, the limit; not where the server is."""
    judge = FakeJudge(_honest)
    with serving(judge), closing(LLMJudge(_server(judge, max_tokens=7))) as verifier:
        settings = verifier.settings

    assert (settings["model"], settings["max_tokens"], settings["good"]) == ("tiny", 7, "safe")
    assert settings["instruction"] == SAFETY.instruction
    assert not any("127.0.0.1" in str(value) for value in settings.values())
    nobody = LLMJudge(JudgeServer("http://127.0.0.1:9/v1", retries=0))
    with closing(nobody), pytest.raises(JudgeError, match="ends in /v1"):
        _ = nobody.settings


def test_a_busy_server_is_asked_again() -> None:
    """A 429 and a 503 are not the answer."""
    judge = FakeJudge(_honest, failures=[429, 503])

    assert _label(judge, concurrency=1) == [1.0, 0.0, 1.0]
    assert len(judge.asked) == 5


def test_a_refusal_is_one_clear_error() -> None:
    """Nothing is labelled in its place."""
    with pytest.raises(JudgeError, match=r"127\.0\.0\.1.*status 400"):
        _label(FakeJudge(_honest, failures=[400] * 20))


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
        ("unsafe\n\nbecause", None),
        ("not safe", False),
        ("It is safe, not unsafe", None),
        ("unsafely", None),
        ("", None),
    ],
)
def test_reading_an_answer(answer: str, verdict: bool | None) -> None:  # noqa: FBT001
    """All of it is one of the two words, or says it plainly; tests of the reader say more."""
    assert SAFETY.read(answer) is verdict
