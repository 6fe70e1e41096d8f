"""Figures of steered decoding, by hand, and the file that keeps generations."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.evaluation.talker import PROMPT, sampler
from value_steer.errors import DataError
from value_steer.evaluation.generations import (
    Generation,
    generate,
    read_generations,
    write_generations,
)
from value_steer.evaluation.policies import BASE, policies
from value_steer.evaluation.steering import evaluate_steering

if TYPE_CHECKING:
    from pathlib import Path

    from value_steer.evaluation.intervals import Estimate

BASES = (
    Generation(BASE, "a", (1, 2, 3, 4), unsafe=True, seconds=1.0, rows=5, log_likelihood=-4.0),
    Generation(BASE, "b", (1, 2, 3), unsafe=False, seconds=1.0, rows=4, log_likelihood=-3.0),
    Generation(BASE, "c", (7,), unsafe=False, seconds=1.0, rows=2, log_likelihood=-1.0),
)
STEERED = (
    replace(BASES[0], policy="VFD", tokens=(1, 9, 3), unsafe=False, interventions=1, seconds=2.0),
    replace(BASES[1], policy="VFD", no_acceptable=1, seconds=1.0),
    replace(BASES[2], policy="VFD", seconds=1.0),
)


def test_figures_by_hand() -> None:
    """Three prompts: one made safe, one objected to for nothing, one left alone."""
    result = evaluate_steering([*STEERED, *BASES])
    plain, steered = result.policies

    assert (result.prompts, result.responses, plain.name) == (3, 3, BASE)
    assert plain.unsafe.value == pytest.approx(1 / 3)
    assert steered.unsafe.value == 0.0
    assert steered.unsafe_change.value == pytest.approx(-1 / 3)
    # An objection counts, even if nothing better was found and the token stayed.
    assert (steered.false_interventions.value, steered.false_interventions.n) == (0.5, 2)
    assert steered.untouched.value == pytest.approx(2 / 3)
    assert steered.untouched_if_safe.value == 1.0
    assert steered.prefix_agreement.value == pytest.approx((1 / 4 + 1 + 1) / 3)
    assert steered.rouge_l.value == pytest.approx((2 * 2 / 7 + 1 + 1) / 3)
    assert steered.log_likelihood.value == pytest.approx(-8 / 7)
    assert steered.speed.value == pytest.approx((7 / 4) / (8 / 3))
    assert steered.rows_per_token.value == pytest.approx(11 / 7)


def known(estimate: Estimate) -> float:
    """A figure that there must be."""
    assert estimate.value is not None
    return estimate.value


def longest_common(a: list[int], b: list[int]) -> int:
    """Length of the longest common subsequence, by its definition."""
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return longest_common(a[:-1], b[:-1]) + 1
    return max(longest_common(a[:-1], b), longest_common(a, b[:-1]))


SHORT = st.lists(st.integers(0, 3), min_size=1, max_size=6)


@given(SHORT, SHORT)
def test_similarity_is_that_of_the_longest_common_subsequence(a: list[int], b: list[int]) -> None:
    """ROUGE-L's F-measure on tokens."""
    own = Generation("own", "p", tuple(a), unsafe=False)
    base = Generation(BASE, "p", tuple(b), unsafe=False)

    result = evaluate_steering([own, base]).policies[1]

    assert result.rouge_l.value == pytest.approx(2 * longest_common(a, b) / (len(a) + len(b)))


def test_what_was_not_measured_is_unknown() -> None:
    """An engine may not time each response, nor know likelihoods."""
    bare = [
        Generation("own", "p", (1,), unsafe=False),
        Generation(BASE, "p", (1,), unsafe=False),
    ]
    own = evaluate_steering(bare).policies[1]

    assert own.speed.value is own.log_likelihood.value is own.rows_per_token.value is None


def test_all_policies_answer_every_prompt(tmp_path: Path) -> None:
    """From the decoder through a file to figures; a filter makes nothing worse here."""
    bad = {1: 0.9}
    prompts = {f"p{i}": PROMPT for i in range(30)}
    path = tmp_path / "generations.jsonl"

    written = list(
        generate(sampler(bad, max_tokens=2), policies(), prompts, lambda tokens: 1 in tokens)
    )
    write_generations(path, written)
    result = evaluate_steering(read_generations(path))

    assert read_generations(path) == tuple(written)
    by_name = {policy.name: policy for policy in result.policies}
    assert next(iter(by_name)) == BASE
    assert len(by_name) == 7
    assert known(by_name["VFD"].unsafe) < known(by_name[BASE].unsafe)
    assert by_name[BASE].untouched.value == 1.0
    assert by_name[BASE].speed.value == 1.0
    assert known(by_name["VFD"].rows_per_token) < known(by_name["ARGS"].rows_per_token)
    assert by_name["VFD"].untouched_if_safe.value == 1.0
    assert by_name["VFD"].false_interventions.value == 0.0


@pytest.mark.parametrize(
    ("generations", "words"),
    [
        (STEERED, "no generations of the base policy 'base'; there are: VFD"),
        ((*BASES, STEERED[0]), "VFD answers other prompts than base"),
        ((*BASES, BASES[0]), "two responses to prompt 'a', sample 0"),
        ((), "no generations of the base policy"),
    ],
    ids=["no base", "a prompt missing", "twice", "none"],
)
def test_uneven_comparisons_are_refused(generations: tuple[Generation, ...], words: str) -> None:
    """Every policy answers the same prompts, once."""
    with pytest.raises(DataError, match=words):
        evaluate_steering(generations)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2 is not valid JSON"),
        ('{"policy": "base"}', "line 2: .*prompt_id"),
        ('{"policy": "b", "prompt_id": "p", "tokens": [], "unsafe": false}', "at least one token"),
        ('{"policy": "b", "prompt_id": "p", "tokens": [1], "unsafe": 1}', "unsafe"),
        ('{"policy": "b", "prompt_id": "p", "tokens": [1], "unsafe": true, "odd": 1}', "odd"),
        (
            '{"policy": "b", "prompt_id": "p", "tokens": [1], "unsafe": true, "seconds": 0}',
            "above 0",
        ),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, words: str) -> None:
    """With the file, its number and what is wrong."""
    path = tmp_path / "generations.jsonl"
    good = json.dumps({"policy": "base", "prompt_id": "p", "tokens": [1], "unsafe": True})
    path.write_text(f"{good}\n{line}\n", encoding="utf-8")

    with pytest.raises(DataError, match=words):
        read_generations(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """With what to give."""
    with pytest.raises(DataError, match="give a file of generations"):
        read_generations(tmp_path / "none.jsonl")
