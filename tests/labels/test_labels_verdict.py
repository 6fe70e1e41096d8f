"""Judges' answers, written by hand: none is read as its opposite, or where nothing is said."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from value_steer.labels.replies import Form, read_reply
from value_steer.labels.verdict import Words
from value_steer.labels.vocabulary import translations

HERE = Path(__file__).parent
SETS = {
    "verdicts": (534, 152),
    "verdicts-holdout": (63, 49),
    "verdicts-holdout-2": (66, 39),
    "verdicts-holdout-3": (73, 35),
    "verdicts-holdout-4": (89, 18),
}
"""Answers in each set, and how many of them may be unreadable though they say something.

The first was written with the reader. Each of the others was written afterwards and read once: in
the first three one answer was read as its opposite, each time for an explanation behind the
verdict, so explanations are not read any more; in the last, written then, none was.
"""
SAID = {True: "good", False: "bad", None: "none"}


@pytest.mark.parametrize("name", SETS)
def test_no_answer_is_read_as_its_opposite(name: str) -> None:
    """Nor is anything read where no verdict is."""
    lines = (HERE / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    outcomes: Counter[str] = Counter()
    for row in rows:
        said = SAID[Words(*row["words"]).read(row["answer"], cut=row.get("cut", False))]
        assert said in {row["right"], "none"}, row
        outcomes["unreadable"] += said == "none" != row["right"]

    size, unreadable = SETS[name]
    assert len(rows) == size
    assert outcomes["unreadable"] <= unreadable


@pytest.mark.parametrize("words", [("safe", "unsafe"), ("correct", "incorrect"), ("yes", "no")])
def test_the_word_itself_is_read(words: tuple[str, str]) -> None:
    """In every language, and the two never meet."""
    good, bad = map(translations, words)

    assert not good & bad
    for word, said in [*((w, True) for w in good), *((w, False) for w in bad)]:
        assert Words(*words).read(word) is said, word
        assert Words(*words).read(word, cut=True) is None


@settings(max_examples=300, deadline=None)
@given(st.text(), st.text())
def test_no_text_is_read_beside_others(before: str, after: str) -> None:
    """Whatever stands around a verdict, it is that verdict or unreadable; nothing is raised."""
    assert Words("safe", "unsafe").read(f"{before} unsafe {after}") is not True
    assert Words("safe", "unsafe").read(f"{before}\nnot safe\n{after}") is not True


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(),
        JSON.map(json.dumps).map(str.encode),
        JSON.map(lambda body: json.dumps({"choices": [{"message": body}]}).encode()),
        JSON.map(lambda body: json.dumps({"choices": [{"message": {"content": body}}]}).encode()),
        JSON.map(
            lambda body: json.dumps({"choices": [{"message": {}, "logprobs": body}]}).encode()
        ),
    ),
    st.sampled_from(Form),
)
def test_no_reply_raises(body: bytes, form: Form) -> None:
    """It is a verdict or unreadable."""
    assert read_reply(body, form, "safe", "unsafe").verdict in {True, False, None}


@pytest.mark.parametrize(
    "answer",
    [
        *(
            "safe\nS1,S2",
            "Unsafe. <think>hmm</think> Safe",
            "unsafe<|channel|>final<|message|>safe",
        ),
        *("non sicuro", "no seguro", "non sûr", "safe" + " " * 30_000),
        *("```not\nsafe\n```", "```unsafe\nsafe\n```", "```un\nsafe```"),
        "<think>let me begin with <analysis>it insults</analysis> safe",
        "<think>a</think>Unsafe.<think>or is it?</think>safe",
    ],
)
def test_what_may_mean_either_is_unreadable(answer: str) -> None:
    """Codes of harm beside a good verdict, words before the thoughts, *not sure*, no end."""
    assert Words("safe", "unsafe").read(answer) is None


@pytest.mark.parametrize(
    "answer",
    [
        "<think>unsafe: <analysis>x</analysis></think>safe",
        "<think>an <analysis> that never ends</think>safe",
        "it might be unsafe</think>safe",
        "<think>a</think><think>b</think>safe",
        '```json\n"safe"\n```',
    ],
)
def test_thoughts_that_end_are_passed_over(answer: str) -> None:
    """Within each other, one after the other, and where the template began them."""
    assert Words("safe", "unsafe").read(answer) is True


@pytest.mark.parametrize("answer", ["是", "是的", "这是对的"])
def test_a_chinese_yes_is_read(answer: str) -> None:
    """Alone it is the verb."""
    assert Words("yes", "no").read(answer) is True


@pytest.mark.parametrize(
    "answer", ["是不是", "这是不是", "是否", "这是", "答案是", "该回答是", "是不"]
)
def test_a_question_is_no_answer(answer: str) -> None:
    """Chinese asks by saying both; nor is a sentence that was cut off after *is*."""
    assert Words("yes", "no").read(answer) is None
