"""A request and its blocks as the host's scheduler keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from types import SimpleNamespace
from typing import Any

from tests.engine.schedules import Params
from tests.engine.simulation.traces import STOP, Ask, Trace
from value_steer.request_settings import AbstainAction

BLOCK = 2


class Status(Enum):
    """Where a request is."""

    WAITING = "waiting"
    RUNNING = "running"
    PREEMPTED = "preempted"
    STOPPED = "stop"
    FULL = "length"
    ABORTED = "abort"


@dataclass(slots=True, eq=False)
class Request:
    """One request."""

    request_id: str
    ask: Ask
    sampling_params: Params
    max_tokens: int
    all_token_ids: list[int]
    status: Status = Status.WAITING
    stop_reason: int | str | None = None
    num_computed_tokens: int = 0
    num_output_placeholders: int = 0
    is_prefill_chunk: bool = False
    blocks: list[int] = field(default_factory=list)
    scores: list[Any] = field(default_factory=list)
    preemptions: int = 0
    arrival_time: float = 0.0

    @property
    def num_prompt_tokens(self) -> int:
        """Tokens of the prompt."""
        return len(self.ask.prompt)

    @property
    def num_tokens(self) -> int:
        """Tokens that are known."""
        return len(self.all_token_ids)

    @property
    def num_output_tokens(self) -> int:
        """Tokens that were given out."""
        return self.num_tokens - self.num_prompt_tokens

    @property
    def response(self) -> list[int]:
        """Those."""
        return self.all_token_ids[self.num_prompt_tokens :]

    @property
    def prompt_token_ids(self) -> list[int]:
        """The prompt."""
        return list(self.ask.prompt)

    def get_finished_reason(self) -> str:
        """Why it is over, in the host's words."""
        return self.status.value

    def is_finished(self) -> bool:
        """Whether it is over."""
        return self.status in {Status.STOPPED, Status.FULL, Status.ABORTED}


@dataclass(slots=True, eq=False)
class Counted(Request):
    """As from vLLM 0.27: outputs in flight are counted."""

    num_in_flight_tokens: int = 0
    num_stale_output_tokens: int = 0
    drop_stale_output: bool = False


@dataclass(slots=True, eq=False)
class Discarding(Request):
    """As from vLLM 0.22 to 0.26."""

    async_tokens_to_discard: int = 0


@dataclass(slots=True, eq=False)
class Latest(Request):
    """As until vLLM 0.21."""

    discard_latest_async_tokens: bool = False


KINDS: dict[str, type[Request]] = {"counted": Counted, "discard": Discarding, "latest": Latest}


def made(name: str, ask: Ask, trace: Trace) -> Request:
    """A request from what its client asks for."""
    extra: dict[str, Any] = {} if ask.steer else {"steer": False}
    if ask.candidates is not None:
        extra["vfd_num_candidates"] = ask.candidates
    refused = ask.grammar and ask.action is AbstainAction.MESSAGE
    if trace.abstain is not None and not refused and ask.action is not AbstainAction.END:
        extra["abstain_action"] = ask.action.value
    if ask.values:
        extra["steer_values"] = True
    params = Params(
        eos_token_id=STOP,
        temperature=0.0 if ask.greedy else 1.0,
        min_tokens=ask.least,
        extra_args=extra or None,
        structured_outputs=object() if ask.grammar else None,
        logprobs=ask.logprobs,
    )
    return KINDS[trace.stale](name, ask, params, ask.most, list(ask.prompt))


class Pool:
    """The blocks of the cache."""

    def __init__(self, blocks: int) -> None:
        self._size = blocks
        self._free = list(range(blocks))

    @property
    def all_free(self) -> bool:
        """Whether nobody has any."""
        return len(self._free) == self._size

    def allocate(self, request: Request, tokens: int) -> list[int] | None:
        """Blocks for so many further tokens; ``None``: there are not enough."""
        missing = -(-(request.num_computed_tokens + tokens) // BLOCK) - len(request.blocks)
        if missing > len(self._free):
            return None
        new = [self._free.pop() for _ in range(missing)]
        request.blocks += new
        return new

    def free(self, request: Request) -> None:
        """Take a request's blocks back."""
        self._free += request.blocks
        request.blocks = []


def new_data(request: Request, *, v2: bool) -> Any:
    """What a worker is told of a request that it does not know."""
    return SimpleNamespace(
        req_id=request.request_id,
        prompt_token_ids=list(request.ask.prompt),
        prompt_embeds=None,
        sampling_params=request.sampling_params,
        ask=request.ask,
        block_ids=list(request.blocks),
        num_computed_tokens=request.num_computed_tokens,
        prefill_token_ids=list(request.all_token_ids) if v2 else None,
    )
