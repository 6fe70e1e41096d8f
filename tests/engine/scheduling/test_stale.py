"""Outputs in flight of requests that begin anew, for schedulers that do not count them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from value_steer.engine.scheduling.stale import StaleOutputs


class Flight:
    """Steps in flight of some requests, the oldest first."""

    def __init__(self, *steps: str) -> None:
        self.outputs = StaleOutputs()
        self.requests: dict[str, Any] = {}
        for names in steps:
            self.schedule(names)

    def schedule(self, names: str) -> None:
        """Let a step of these go out."""
        for name in names:
            one = SimpleNamespace(request_id=name, num_output_placeholders=0)
            self.requests.setdefault(name, one).num_output_placeholders += 1
        self.outputs.scheduled(SimpleNamespace(num_scheduled_tokens=dict.fromkeys(names, 1)))

    def preempt(self, name: str, *, dropped: bool = False) -> None:
        """Let a request begin anew."""
        self.outputs.preempted(self.requests[name], dropped=dropped)

    def arrive(self, **tokens: list[int]) -> tuple[dict[str, bool], list[list[int]]]:
        """The oldest step has these; who is stale in it, and the tokens then."""
        self.output = SimpleNamespace(
            req_id_to_index={name: row for row, name in enumerate(tokens)},
            sampled_token_ids=list(tokens.values()),
            prompt_logprobs_dict={name: "of the prompt" for name in tokens if name != "c"},
        )
        found = self.outputs.arrived(self.requests, self.output)
        return found, self.output.sampled_token_ids


@pytest.mark.parametrize("dropped", [False, True])
def test_as_many_outputs_are_stale_as_were_in_flight(*, dropped: bool) -> None:
    """Those of the time before; one that was scheduled since is not, nor are other requests."""
    flight = Flight("ab", "ab")
    flight.preempt("a", dropped=dropped)
    assert flight.requests["a"].num_output_placeholders == 0
    flight.schedule("ab")

    seen = [flight.arrive(a=[7], b=[8]) for _ in range(3)]

    stale = ({"a": dropped}, [[] if dropped else [7], [8]])
    assert seen == [stale, stale, ({}, [[7], [8]])]
    assert flight.outputs._stale == {}


def test_a_stale_token_that_counts_has_a_placeholder_of_its_own() -> None:
    """The host takes one off for each token; those of the steps since are for theirs."""
    flight = Flight("a")
    flight.preempt("a")
    flight.schedule("a")

    flight.arrive(a=[7])

    assert flight.requests["a"].num_output_placeholders == 2


def test_who_has_nothing_in_flight_has_nothing_stale() -> None:
    """As without asynchronous scheduling, whose steps have all arrived."""
    flight = Flight("a")
    flight.arrive(a=[7])
    flight.preempt("a", dropped=True)

    flight.schedule("a")
    assert flight.arrive(a=[7]) == ({}, [[7]])
    assert flight.arrive(a=[7]) == ({}, [[7]]), "of a step that nobody spoke of"


def test_what_is_dropped_takes_the_prompts_log_probabilities_with_it() -> None:
    """If the output has any; the host asserts that they come beside a token."""
    flight = Flight("abc")
    for name in "ac":
        flight.preempt(name, dropped=True)

    assert flight.arrive(a=[7], b=[8], c=[9])[1] == [[], [8], []]
    assert flight.output.prompt_logprobs_dict == {"b": "of the prompt"}


def test_who_is_gone_or_gave_nothing_changes_nothing() -> None:
    """Whoever comes behind it in the step is looked at all the same."""
    flight = Flight("abcd")
    for name in "abd":
        flight.preempt(name, dropped=True)
    flight.outputs.finished("c")
    del flight.requests["b"]

    found, tokens = flight.arrive(b=[6], c=[7], d=[8])

    assert found == {"a": True, "b": True, "d": True}
    assert tokens == [[6], [7], []]


def test_a_step_that_sampled_nothing_has_nothing_to_drop() -> None:
    """One of several pipeline stages, or the middle of a prompt."""
    flight = Flight("a")
    flight.preempt("a", dropped=True)
    empty: Any = SimpleNamespace(
        req_id_to_index={"a": 0}, sampled_token_ids=[], prompt_logprobs_dict={}
    )

    assert flight.outputs.arrived(flight.requests, empty) == {"a": True}
    assert empty.sampled_token_ids == []


def test_who_is_over_is_forgotten() -> None:
    """Its id may come again."""
    flight = Flight("ab")
    flight.preempt("a", dropped=True)
    flight.outputs.finished("a")

    assert flight.arrive(a=[7], b=[8]) == ({}, [[7], [8]])
