"""The output of a worker: tokens that are held for a step, with what goes out beside them."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import (
    Contains,
    Extensible,
    Fields,
    Implementable,
    IsClass,
    Parameters,
)
from value_steer.contracts.surface import Mode, Runner, Surface

_BOTH = partial(Surface, runners=frozenset(Runner), modes=frozenset(Mode))
_ROW = partial(_BOTH, modes=frozenset({Mode.VFD}))
_OUTPUTS = partial(_ROW, path="vllm/v1/outputs.py")
_UPDATE = partial(
    _ROW, path="vllm/v1/core/sched/scheduler.py", symbol="Scheduler.update_from_output"
)

_ATTACH = "value_steer.engine.delivery.report.attach"
_PASSES = "value_steer.engine.delivery.outbox.Outbox.pass_on"
_EXCHANGE = "value_steer.engine.delivery.outbox.Outbox._exchange"
_REWRITTEN = "value_steer.engine.delivery.outbox._rewritten"
_LATE = "value_steer.engine.delivery.promise.LateOutput.get_output"

ROWS: tuple[Surface, ...] = (
    _OUTPUTS(
        id="model_runner_output.takes_an_attribute",
        modes=frozenset(Mode),
        symbol="ModelRunnerOutput",
        need=Extensible(),
        used_by=_ATTACH,
        why="What the worker says of a step travels as an attribute of the step's output.",
    ),
    _BOTH(
        id="message_queue.pickles",
        path="vllm/distributed/device_communicators/shm_broadcast.py",
        symbol="MessageQueue.enqueue",
        need=Contains(("pickle.HIGHEST_PROTOCOL",)),
        used_by=_ATTACH,
        why="Between processes an attribute survives pickling, and would not survive a schema.",
    ),
    _OUTPUTS(
        id="model_runner_output.tokens_and_logprobs",
        symbol="ModelRunnerOutput",
        need=Fields(
            ("req_ids", "req_id_to_index", "sampled_token_ids", "logprobs", "prompt_logprobs_dict"),
            writable=True,
        ),
        used_by=_PASSES,
        why="A row gives out what it held by replacing what was sampled.",
    ),
    _UPDATE(
        id="scheduler.reads_prompt_logprobs",
        need=Contains(("prompt_logprobs_dict.get(req_id)",)),
        used_by="value_steer.engine.delivery.outbox._taken",
        why="Left with a row that gives out nothing they would fail an assertion of the host.",
    ),
    _OUTPUTS(
        id="logprobs_lists.fields",
        symbol="LogprobsLists",
        need=Fields(("logprob_token_ids", "logprobs", "sampled_token_ranks")),
        used_by=_REWRITTEN,
        why="The caller's log-probabilities must be those of the token that is given out.",
    ),
    _OUTPUTS(
        id="logprobs_lists.is_named_tuple",
        symbol="LogprobsLists",
        need=IsClass(bases=("NamedTuple",)),
        used_by=_REWRITTEN,
        why="A table with other columns is made of it by its _replace.",
    ),
    _OUTPUTS(
        id="logprobs_lists.slice_request",
        symbol="LogprobsLists.slice_request",
        need=Parameters(("req_idx", "num_positions")),
        used_by=_EXCHANGE,
        why="A row of log-probabilities waits with its token.",
    ),
    _OUTPUTS(
        id="logprobs_lists.columns",
        symbol="LogprobsLists.slice_request",
        need=Contains(
            (
                "LogprobsLists(self.logprob_token_ids[req_idx:end_idx],"
                " self.logprobs[req_idx:end_idx], self.sampled_token_ranks[req_idx:end_idx], None)",
            )
        ),
        used_by="value_steer.engine.delivery.outbox._Held.rescore",
        why="Its first three columns are these; in another order, ids would be taken for values.",
    ),
    _UPDATE(
        id="scheduler.reads_logprobs_by_row",
        need=Contains(("logprobs.slice_request(req_index, len(new_token_ids))",)),
        used_by=_REWRITTEN,
        why="The row of a token that is given out is written where the host reads it.",
    ),
    _OUTPUTS(
        id="async_output.abstract_methods",
        modes=frozenset(Mode),
        symbol="AsyncModelRunnerOutput",
        need=Implementable(("get_output", "get_kv_connector_output")),
        used_by=_LATE,
        why="With a further abstract method a promise could not be made, and no step be served.",
    ),
    _ROW(
        id="uniproc_executor.knows_promises",
        path="vllm/v1/executor/uniproc_executor.py",
        symbol="UniProcExecutor.collective_rpc",
        need=Contains(("isinstance(result, AsyncModelRunnerOutput)",)),
        used_by=_LATE,
        why="A promise is redeemed by the executor, which knows it by its class.",
    ),
    _ROW(
        id="multiproc_executor.knows_promises",
        path="vllm/v1/executor/multiproc_executor.py",
        symbol="WorkerProc.enqueue_output",
        need=Contains(("isinstance(output, AsyncModelRunnerOutput)",)),
        used_by=_LATE,
        why="A promise is redeemed by the executor, which knows it by its class.",
    ),
    _ROW(
        id="cached_request_data.writable",
        path="vllm/v1/core/sched/output.py",
        symbol="CachedRequestData",
        need=Fields(("num_computed_tokens", "num_output_tokens", "all_token_ids"), writable=True),
        used_by="value_steer.engine.delivery.lag._changed",
        why="A request that stands behind is run where it stands.",
    ),
)
