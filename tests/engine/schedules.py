"""A small scheduler of our own that speaks vLLM's messages: the fake behind the engine tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any


@dataclass
class Params:
    """The sampling parameters that the engine reads."""

    eos_token_id: int | None = 1
    temperature: float = 1.0
    stop_token_ids: list[int] = field(default_factory=list)
    stop: list[str] = field(default_factory=list)
    ignore_eos: bool = False
    min_tokens: int = 0
    extra_args: dict[str, Any] | None = None
    structured_outputs: object | None = None
    logprobs: int | None = None
    logprob_token_ids: list[int] | None = None
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    max_tokens: int | None = None


@dataclass
class Job:
    """A request as the scheduler sees it."""

    request_id: str
    prompt: int
    params: Params = field(default_factory=Params)
    outputs: int = 0
    computed: int = 0
    running: bool = False
    known_to_worker: bool = False

    @property
    def length(self) -> int:
        """Tokens in the sequence."""
        return self.prompt + self.outputs


@dataclass
class Scheduler:
    """Turns decisions of a test (who runs, how many tokens) into scheduler outputs."""

    jobs: dict[str, Job] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)

    def add(self, job: Job) -> None:
        """Queue a request."""
        self.jobs[job.request_id] = job

    def preempt(self, request_id: str) -> None:
        """Take a request's cache away; it starts over when it runs again."""
        job = self.jobs[request_id]
        job.running, job.computed = False, 0

    def finish(self, request_id: str) -> None:
        """End a request."""
        job = self.jobs.pop(request_id)
        if job.known_to_worker:
            self.finished.add(request_id)

    def withhold(self, request_id: str) -> None:
        """A request that reached its end was given no token: it computes its last one again."""
        job = self.jobs[request_id]
        job.outputs -= 1
        job.computed -= 1

    def step(self, tokens: dict[str, int]) -> Any:
        """Schedule the given number of tokens of each named request, in that order."""
        new, cached, resumed = [], [], set()
        for request_id in tokens:
            job = self.jobs[request_id]
            if not job.known_to_worker:
                new.append(job)
            else:
                cached.append(job)
                if not job.running:
                    resumed.add(request_id)
            job.known_to_worker = job.running = True
        output = _message(new, cached, resumed, dict(tokens), self.finished)
        self.finished = set()
        for request_id, count in tokens.items():
            job = self.jobs[request_id]
            job.computed += count
            if job.computed == job.length:
                job.outputs += 1
        return output


def _message(
    new: list[Job],
    cached: list[Job],
    resumed: set[str],
    tokens: dict[str, int],
    finished: set[str],
) -> Any:
    return SimpleNamespace(
        scheduled_new_reqs=[
            SimpleNamespace(
                req_id=job.request_id,
                prompt_token_ids=[7] * job.prompt,
                prompt_embeds=None,
                num_computed_tokens=job.computed,
                sampling_params=job.params,
            )
            for job in new
        ],
        scheduled_cached_reqs=SimpleNamespace(
            req_ids=[job.request_id for job in cached],
            resumed_req_ids=resumed,
            num_computed_tokens=[job.computed for job in cached],
            num_output_tokens=[job.outputs for job in cached],
        ),
        num_scheduled_tokens=tokens,
        total_num_scheduled_tokens=sum(tokens.values()),
        scheduled_spec_decode_tokens={},
        finished_req_ids=finished,
    )
