"""The records that travel between a test and the engine it drives, as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SMALLEST = "smallest"
"""As ``block_size``: the smallest cache block of the host, whose borders are met often."""

CACHE_TOKENS = "cache_tokens"
"""The option that sizes the cache in tokens, whatever a block holds."""

LATE = "the outputs of steps are promises, and are kept late"
"""The line of a process of an asynchronous lane when it keeps the first promise."""


@dataclass(frozen=True)
class EngineSpec:
    """An engine to boot.

    Attributes:
        model: A family of :mod:`compat.behaviour.tiny_models`.
        abstain: The ``abstain`` section of ``additional_config``.
        vfd: The ``vfd`` section; without either section it is plain vLLM that boots.
        record: The ``record`` section.
        options: Further engine arguments.
        env: Environment of the engine's processes.
        new_interpreter: Whether they import vLLM anew, because that reads a variable of ``env``.
        worker: Worker class, if not the one under test.
    """

    model: str = "mistral"
    abstain: dict[str, Any] | None = None
    vfd: dict[str, Any] | None = None
    record: dict[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    env: dict[str, str] = field(default_factory=dict)
    new_interpreter: bool = False
    worker: str | None = None

    @property
    def additional_config(self) -> dict[str, Any]:
        """The sections that are configured; none boots plain vLLM."""
        sections = {"abstain": self.abstain, "vfd": self.vfd, "record": self.record}
        return {name: section for name, section in sections.items() if section is not None}


@dataclass(frozen=True)
class Request:
    """A request: prompt token ids and the keyword arguments of ``SamplingParams``.

    Attributes:
        prompt: Token ids.
        params: Keyword arguments.
        adapter: The folder of a LoRA adapter that it wants.
        embedded: Whether the prompt is sent as the embeddings of its tokens.
        image: The seed of an image that belongs to it.
    """

    prompt: list[int]
    params: dict[str, Any] = field(default_factory=dict)
    adapter: str | None = None
    embedded: bool = False
    image: int | None = None


@dataclass(frozen=True)
class Arrival:
    """A request in a schedule.

    Attributes:
        request: The request.
        at: The engine step before which it arrives.
        aborted_at: The one before which its client goes away, if it is still there.
    """

    request: Request
    at: int = 0
    aborted_at: int | None = None


@dataclass(frozen=True)
class Event:
    """Something that an operator does to an engine in a schedule.

    Attributes:
        what: A name in ``engine_main``.
        at: The engine step before which it happens.
        argument: What it is done with.
    """

    what: str
    at: int
    argument: Any = None


@dataclass(frozen=True)
class Answer:
    """The answer to a request.

    Attributes:
        request_id: As the caller sees it.
        tokens: Generated token ids, the ending one included.
        finish_reason: ``stop``, ``length``, ...
        stop_reason: The stop token id or string, if one was asked for.
        logprobs: Per token, the log-probability of each reported token id.
        prompt_logprobs: The same per token of the prompt, of which the first has none.
    """

    request_id: str
    tokens: list[int]
    finish_reason: str | None
    stop_reason: int | str | None
    logprobs: list[dict[str, float]] | None
    prompt_logprobs: list[dict[str, float]] | None = None


@dataclass(frozen=True)
class Scheduling:
    """How an engine schedules, by three things that vLLM decides one after the other.

    Attributes:
        device: ``cpu``, or the kind of accelerator.
        asynchronous: What its configuration has come to.
        queued: Whether a step is scheduled while the one before it runs.
        ahead: Whether its scheduler counts on tokens that are not there yet.
    """

    device: str
    asynchronous: bool
    queued: bool
    ahead: bool


@dataclass(frozen=True)
class Timing:
    """How fast a batch was answered.

    Attributes:
        seconds: From the first request to the last token.
        processor_seconds: Processor time of the engine's process in between, all threads.
        tokens: Generated tokens of all requests.
        first: Seconds to the first token, of each request.
        between: Seconds between two tokens of a request, of all of them.
    """

    seconds: float
    processor_seconds: float
    tokens: int
    first: list[float]
    between: list[float]
