"""The scheduler's messages to a worker, and its end of a request."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import Compares, Constructible, Fields, Parameters
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset(Runner), modes=frozenset(Mode))
_OUTPUT = partial(_ROW, path="vllm/v1/core/sched/output.py")
_STOP = partial(_ROW, path="vllm/v1/core/sched/utils.py", symbol="check_stop")

ROWS: tuple[Surface, ...] = (
    _OUTPUT(
        id="scheduler_output.fields",
        symbol="SchedulerOutput",
        need=Fields(
            (
                "scheduled_new_reqs",
                "scheduled_cached_reqs",
                "num_scheduled_tokens",
                "total_num_scheduled_tokens",
                "num_common_prefix_blocks",
                "finished_req_ids",
            ),
            writable=True,
        ),
        used_by="value_steer.engine.requests.RequestTable.advance",
        why="The live requests are followed from these; the self-test writes a step of its own.",
    ),
    _OUTPUT(
        id="scheduler_output.make_empty",
        symbol="SchedulerOutput.make_empty",
        need=Parameters(on_class=True),
        used_by="value_steer.engine.self_test._first_step",
        why="A synthetic step starts from an empty one.",
    ),
    _OUTPUT(
        id="new_request_data.constructible",
        symbol="NewRequestData",
        need=Constructible(
            (
                "req_id",
                "prompt_token_ids",
                "mm_features",
                "sampling_params",
                "pooling_params",
                "block_ids",
                "num_computed_tokens",
                "lora_request",
            )
        ),
        used_by="value_steer.engine.self_test._first_step",
        why="The self-test makes a synthetic request.",
    ),
    _OUTPUT(
        id="new_request_data.fields",
        symbol="NewRequestData",
        need=Fields(
            (
                "req_id",
                "prompt_token_ids",
                "prompt_embeds",
                "sampling_params",
                "num_computed_tokens",
            )
        ),
        used_by="value_steer.engine.admission.Admission.__call__",
        why="A request's own settings and the length of its prompt arrive in it.",
    ),
    _OUTPUT(
        id="cached_request_data.fields",
        symbol="CachedRequestData",
        need=Fields(
            (
                "req_ids",
                "resumed_req_ids",
                "num_computed_tokens",
                "num_output_tokens",
            )
        ),
        used_by="value_steer.engine.requests.RequestTable.advance",
        why="They tell a request that grows by a token from one whose prompt is still computed.",
    ),
    _STOP(
        id="check_stop.eos",
        need=Compares("sampling_params.eos_token_id"),
        used_by="value_steer.engine.admission._stop_token",
        why="A forced end-of-sequence token ends the request only if the scheduler looks for it.",
    ),
    _STOP(
        id="check_stop.stop_token_ids",
        need=Compares("sampling_params.stop_token_ids"),
        used_by="value_steer.engine.admission._stop_token",
        why="A request without an end-of-sequence id is ended by one of its stop tokens.",
    ),
    _STOP(
        id="check_stop.min_tokens",
        need=Compares("sampling_params.min_tokens"),
        used_by="value_steer.engine.admission.Admission.__call__",
        why="Nothing is judged before the scheduler would let the request stop.",
    ),
)
