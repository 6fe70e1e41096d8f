"""In the fashion of Model Runner V2: counts per request on the device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch

from tests.engine.simulation.batches import Promise, Row, Runner
from tests.engine.simulation.traces import VOCABULARY

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SLOTS = 8


class FakeV2(Runner):
    """Books what it samples behind what it has."""

    def __init__(self, trace: Any) -> None:
        super().__init__(trace)
        self.sampler.penalties_state = SimpleNamespace(
            output_bin_counts=torch.zeros(_SLOTS, VOCABULARY, dtype=torch.long)
        )
        self._counts = self.sampler.penalties_state.output_bin_counts
        self.req_states: Any = SimpleNamespace(
            req_id_to_index={},
            total_len=SimpleNamespace(gpu=torch.zeros(_SLOTS, dtype=torch.long)),
            num_computed_tokens=SimpleNamespace(gpu=torch.zeros(_SLOTS, dtype=torch.long)),
            last_sampled_tokens=torch.zeros(_SLOTS, 1, dtype=torch.long),
        )
        self._slots: dict[str, int] = self.req_states.req_id_to_index
        self._free = list(range(_SLOTS))
        self._known: dict[str, Any] = {}
        self._sequences: dict[str, list[int]] = {}

    def position(self, name: str) -> int | None:
        """Where a request stands; ``None``: it is not known."""
        slot = self._slots.get(name)
        return None if slot is None else int(self.req_states.num_computed_tokens.gpu[slot])

    def execute_model(self, step: Any) -> None:
        """Run a step."""
        for name in {*step.finished_req_ids, *step.preempted_req_ids}:
            self._remove(name)
        for new in step.scheduled_new_reqs:
            self._remove(new.req_id)
            self._add(new)
        cached = step.scheduled_cached_reqs
        for name, computed, blocks in zip(
            cached.req_ids, cached.num_computed_tokens, cached.new_block_ids, strict=True
        ):
            assert computed == self.position(name), f"{name}: {computed} is not where it stands"
            self._known[name].block_ids.extend(blocks)
        names = sorted(step.num_scheduled_tokens, key=step.num_scheduled_tokens.__getitem__)
        self.batch = [self._row(name, step.num_scheduled_tokens[name]) for name in names]
        if self.batch:
            self._forward()

    def _row(self, name: str, tokens: int) -> Row:
        known, slot = self._known[name], self._slots[name]
        start = int(self.req_states.num_computed_tokens.gpu[slot])
        prefill = known.prefill_token_ids
        end = start + tokens
        fed = prefill[start:end]
        if end > len(prefill):
            fed = [*fed, int(self.req_states.last_sampled_tokens[slot, 0])]
        assert len(fed) == tokens, f"{name}: {tokens} tokens are scheduled, {len(fed)} are known"
        return Row(name, known.ask, fed, start, known.block_ids, complete=end >= len(prefill))

    def sample_tokens(self, grammar: Mapping[str, Sequence[bool]]) -> Any:
        """Sample the batch, and record it."""
        ids = [row.id for row in self.batch]
        sampled = self._sample(grammar, SimpleNamespace(req_ids=ids))
        output = self._output(sampled)
        states = self.req_states
        slots = torch.tensor([self._slots[name] for name in ids])
        states.num_computed_tokens.gpu[slots] += torch.tensor([len(r.tokens) for r in self.batch])
        for row, (token,) in zip(self.batch, sampled.sampled_token_ids.tolist(), strict=True):
            if row.complete:
                self._book(row, token)
        return Promise(output)

    def _book(self, row: Row, token: int) -> None:
        slot, states = self._slots[row.id], self.req_states
        sequence = self._sequences[row.id]
        del sequence[int(states.total_len.gpu[slot]) :]
        sequence.append(token)
        states.last_sampled_tokens[slot, 0] = token
        states.total_len.gpu[slot] += 1
        self._counts[slot, token] += 1
        response = torch.tensor(sequence[len(row.ask.prompt) :])
        expected = response.bincount(minlength=VOCABULARY)
        assert torch.equal(self._counts[slot], expected), f"{row.id}: penalties count other tokens"
        assert len(sequence) == int(states.num_computed_tokens.gpu[slot]) + 1

    def _add(self, new: Any) -> None:
        slot = self._slots[new.req_id] = self._free.pop()
        states, tokens = self.req_states, new.prefill_token_ids
        states.total_len.gpu[slot] = len(tokens)
        states.num_computed_tokens.gpu[slot] = new.num_computed_tokens
        self._sequences[new.req_id] = list(tokens)
        response = torch.tensor(tokens[len(new.ask.prompt) :], dtype=torch.long)
        self._counts[slot] = response.bincount(minlength=VOCABULARY)
        self._known[new.req_id] = new

    def _remove(self, name: str) -> None:
        if (slot := self._slots.pop(name, None)) is not None:
            self._free.append(slot)
            del self._known[name], self._sequences[name]
