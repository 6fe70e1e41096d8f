"""In the fashion of Model Runner V1: a batch that persists, with the tokens on the host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from tests.engine.simulation.batches import Promise, Row, Runner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor


class InputBatch:
    """Rows that persist from step to step."""

    def __init__(self) -> None:
        self.req_ids: list[Any] = []
        self.tokens: list[list[int]] = []
        self.num_tokens_no_spec: list[int] = []
        self.prev_sampled_token_ids: Tensor | None = None
        self.prev_req_id_to_index: dict[str, int] = {}

    def remove(self, name: str) -> None:
        """Leave a hole."""
        if name in self.req_ids:
            self.req_ids[self.req_ids.index(name)] = None
            self.prev_req_id_to_index.pop(name, None)

    def add(self, name: str, tokens: list[int]) -> None:
        """Take the first hole."""
        if None not in self.req_ids:
            self.req_ids.append(None)
            self.tokens.append([])
            self.num_tokens_no_spec.append(0)
        row = self.req_ids.index(None)
        self.req_ids[row], self.tokens[row] = name, list(tokens)
        self.num_tokens_no_spec[row] = len(tokens)

    def condense(self) -> None:
        """Let the last rows fill the holes."""
        while None in self.req_ids:
            hole = self.req_ids.index(None)
            for column in (self.req_ids, self.tokens, self.num_tokens_no_spec):
                last: Any = column.pop()
                if hole < len(column):
                    column[hole] = last


class FakeV1(Runner):
    """Keeps tokens that it has not seen as -1 under asynchronous scheduling."""

    def __init__(self, trace: Any) -> None:
        super().__init__(trace)
        self.requests: dict[str, Any] = {}
        self.input_batch = InputBatch()
        self._shown: set[str] = set()

    def position(self, name: str) -> int | None:
        """Where a request stands; ``None``: it is not known."""
        state = self.requests.get(name)
        return None if state is None else state.stands_at

    def execute_model(self, step: Any) -> None:
        """Run a step."""
        batch = self.input_batch
        for name in step.finished_req_ids:
            self.requests.pop(name, None)
            batch.remove(name)
        cached = step.scheduled_cached_reqs
        going = step.num_scheduled_tokens.keys() - cached.resumed_req_ids
        for name in [name for name in batch.req_ids if name is not None and name not in going]:
            batch.remove(name)
        joining = [self._new(new) for new in step.scheduled_new_reqs]
        for i, name in enumerate(cached.req_ids):
            if self._update(cached, i, name):
                joining.append(name)
        for name in joining:
            state = self.requests[name]
            batch.add(name, [*state.ask.prompt, *state.output_token_ids])
        batch.condense()
        self.batch = [
            self._row(i, name, step.num_scheduled_tokens[name])
            for i, name in enumerate(batch.req_ids)
        ]
        if self.batch:
            self._forward()

    def _new(self, new: Any) -> str:
        self.requests[new.req_id] = SimpleNamespace(
            ask=new.ask,
            blocks=list(new.block_ids),
            num_computed_tokens=new.num_computed_tokens,
            stands_at=new.num_computed_tokens,
            output_token_ids=[],
            generator=None,  # rows are drawn by hashes here
        )
        return new.req_id  # type: ignore[no-any-return]

    def _update(self, cached: Any, i: int, name: str) -> bool:
        """Take in what is said of a request; whether it has to join the batch."""
        state, batch = self.requests[name], self.input_batch
        computed, outputs = cached.num_computed_tokens[i], cached.num_output_tokens[i]
        resumed = name in cached.resumed_req_ids
        assert resumed or computed == state.stands_at, f"{name}: {computed} is not where it stands"
        state.num_computed_tokens = computed
        joins = name not in batch.req_ids
        if outputs < len(state.output_token_ids):
            del state.output_token_ids[outputs:]
            if not joins:
                row = batch.req_ids.index(name)
                batch.num_tokens_no_spec[row] = len(state.ask.prompt) + outputs
        if resumed:
            assert joins
            state.blocks = list(cached.new_block_ids[i])
        else:
            state.blocks += cached.new_block_ids[i]
        if joins and self.asynchronous and outputs:
            state.output_token_ids = cached.all_token_ids[name][-outputs:]
        return joins

    def _row(self, row: int, name: str, tokens: int) -> Row:
        state, batch = self.requests[name], self.input_batch
        start = state.num_computed_tokens
        end = start + tokens
        known = len(state.ask.prompt) + len(state.output_token_ids)
        fed = batch.tokens[row][start:end]
        previous = batch.prev_req_id_to_index.get(name)
        if previous is not None and batch.prev_sampled_token_ids is not None:
            fed[-1:] = [int(batch.prev_sampled_token_ids[previous, 0])]
        assert len(fed) == tokens, f"{name}: {tokens} tokens are scheduled, {len(fed)} are known"
        assert batch.num_tokens_no_spec[row] == known, f"{name}: two counts of its tokens"
        return Row(name, state.ask, fed, start, state.blocks, complete=end >= known)

    def sample_tokens(self, grammar: Mapping[str, Sequence[bool]]) -> Any:
        """Sample the batch, and record it."""
        sampled = self._sample(grammar)
        output, batch = self._output(sampled), self.input_batch
        if self.asynchronous:
            batch.prev_sampled_token_ids = sampled.sampled_token_ids.clone()
            batch.prev_req_id_to_index = {
                row.id: i for i, row in enumerate(self.batch) if row.complete
            }
        for i, (row, given) in enumerate(zip(self.batch, output.sampled_token_ids, strict=True)):
            state = self.requests[row.id]
            state.stands_at = row.end
            if row.complete:
                self._book(i, state, -1 if self.asynchronous else given[0])
        return Promise(output) if self.asynchronous else output

    def _shows_prompt(self, row: Row) -> bool:
        """They are computed once."""
        shows = row.id not in self._shown and super()._shows_prompt(row)
        if shows:
            self._shown.add(row.id)
        return shows

    def _book(self, row: int, state: Any, token: int) -> None:
        batch = self.input_batch
        start = batch.num_tokens_no_spec[row]
        assert start < self.trace.longest, "Sampled token IDs exceed the max model length"
        batch.tokens[row][start:] = [token]
        batch.num_tokens_no_spec[row] = start + 1
        state.output_token_ids.append(token)
        # One that takes its position again has had its last token taken off.
        state.stands_at = start
