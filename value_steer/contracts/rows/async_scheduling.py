"""The asynchronous scheduler's counting of tokens that are not known yet."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import Assigns, Calls, Contains, Parameters
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset(Runner), modes=frozenset({Mode.VFD}))
_SCHEDULER = partial(_ROW, path="vllm/v1/core/sched/scheduler.py")
_SCHEDULE = partial(_SCHEDULER, symbol="Scheduler.schedule")
_UPDATE = partial(_SCHEDULER, symbol="Scheduler.update_from_output")
_MESSAGE = partial(_SCHEDULER, symbol="Scheduler._make_cached_request_data")
_RESET = partial(_SCHEDULER, symbol="Scheduler.reset_prefix_cache")
_ASYNC = partial(_ROW, path="vllm/v1/core/sched/async_scheduler.py")
_REQUEST = partial(_ROW, path="vllm/v1/request.py")

_OURS = "value_steer.engine.scheduling.late.LateScheduling"
_STALE = "value_steer.engine.scheduling.stale.StaleOutputs"
_TAKES_BACK = f"{_OURS}.update_from_output"

_PLACEHOLDERS: tuple[Surface, ...] = (
    _REQUEST(
        id="request.counts",
        symbol="Request",
        need=Assigns(
            ("num_computed_tokens", "num_output_placeholders", "num_prompt_tokens", "max_tokens")
        ),
        used_by=_TAKES_BACK,
        why="A step that takes a token back is one less of the first two.",
    ),
    _REQUEST(
        id="request.is_finished",
        symbol="Request.is_finished",
        need=Parameters(),
        used_by=_TAKES_BACK,
        why="A request that has ended takes nothing back.",
    ),
    _SCHEDULER(
        id="scheduler.state",
        symbol="Scheduler",
        need=Assigns(("requests", "running", "max_model_len")),
        used_by=f"{_OURS}.schedule",
        why="Requests are found there, and how long a sequence may be.",
    ),
    _ASYNC(
        id="async_scheduler.adds_placeholders",
        symbol="AsyncScheduler._update_after_schedule",
        need=Contains(
            (
                "request.num_output_placeholders += 1 + cur_num_spec_tokens",
                "request.num_output_placeholders += "
                "self.num_sampled_tokens_per_step + cur_num_spec_tokens",
            )
        ),
        used_by=_TAKES_BACK,
        why="A held token is one placeholder; a token taken back is subtracted as one.",
    ),
    _ASYNC(
        id="async_scheduler.settles_placeholders",
        symbol="AsyncScheduler._update_request_with_output",
        need=Contains(
            (
                "request.num_output_placeholders -= len(new_token_ids)",
                "request.num_output_placeholders -= num_new_tokens",
            )
        ),
        used_by=_TAKES_BACK,
        why="A token that is given out settles one; else a request would be scheduled for ever.",
    ),
    _UPDATE(
        id="scheduler.reads_rows_by_request",
        need=Contains(("model_runner_output.req_id_to_index[req_id]",)),
        used_by="value_steer.engine.delivery.outbox.Outbox.pass_on",
        why="A row gives out what was held for the request that it names.",
    ),
    _UPDATE(
        id="scheduler.takes_rows_without_tokens",
        need=Contains(("sampled_token_ids[req_index] if sampled_token_ids else []",)),
        used_by="value_steer.engine.delivery.outbox.Outbox.pass_on",
        why="A row that gives out nothing is an empty list, of which the host makes no output.",
    ),
    _SCHEDULE(
        id="scheduler.counts_placeholders",
        need=Contains(
            (
                "request.num_tokens_with_spec + request.num_output_placeholders"
                " - request.num_computed_tokens",
            )
        ),
        used_by=_TAKES_BACK,
        why="By this sum a request is scheduled for one token, taken back or not.",
    ),
    _SCHEDULE(
        id="scheduler.skips_at_the_last_token",
        need=Contains(
            (
                "request.num_computed_tokens + 2 - request.num_output_placeholders"
                " >= request.num_prompt_tokens + request.max_tokens",
            )
        ),
        used_by=f"{_OURS}._last_tokens",
        why="By it the last token would never be judged, nor be given out; it is let pass once.",
    ),
    _SCHEDULE(
        id="scheduler.caps_the_position",
        need=Contains(
            (
                "self.max_model_len - 1 - request.num_computed_tokens",
                "self.max_model_len - request.num_computed_tokens"
                " - self.num_sampled_tokens_per_step",
            )
        ),
        used_by=f"{_OURS}.schedule",
        why="One more lets the last token of the longest sequence be judged.",
    ),
    _SCHEDULER(
        id="scheduler.add_request",
        symbol="Scheduler.add_request",
        need=Parameters(("request",)),
        used_by=f"{_OURS}.add_request",
        why="A request that could outgrow the longest sequence is cut down where it comes in.",
    ),
)

_MESSAGES: tuple[Surface, ...] = (
    _MESSAGE(
        id="scheduler.sends_counts_with_placeholders",
        need=Contains(("req.num_output_tokens + req.num_output_placeholders",)),
        used_by="value_steer.engine.delivery.lag._changed",
        why="The count of a request that stands behind is one too high, as its position is.",
    ),
    _MESSAGE(
        id="scheduler.sends_all_tokens",
        need=Contains(("all_token_ids[req_id] = req.all_token_ids.copy()",)),
        used_by="value_steer.engine.delivery.lag.Lag._tails",
        why="It lacks the token that is held, and the worker takes its sequence from it.",
    ),
)

_PREEMPTION: tuple[Surface, ...] = (
    _SCHEDULER(
        id="scheduler.preempt_request",
        modes=frozenset(Mode),
        symbol="Scheduler._preempt_request",
        need=Parameters(("request", "timestamp")),
        used_by=f"{_OURS}._preempt_request",
        why="A held token is lost there, and what is in flight is of the time before.",
    ),
    _SCHEDULER(
        id="scheduler.preempted_begins_anew",
        symbol="Scheduler._preempt_request",
        need=Contains(("request.num_computed_tokens = 0",)),
        used_by=f"{_STALE}.preempted",
        why="Its position is computed again from the tokens that were given out.",
    ),
    _SCHEDULE(
        id="scheduler.schedule_preempts",
        need=Calls("self._preempt_request", positional=2),
        used_by=f"{_OURS}._preempt_request",
        why="Preempted in another way, a request would keep placeholders of lost tokens.",
    ),
    _ROW(
        id="engine_core.takes_outputs_in_order",
        path="vllm/v1/engine/core.py",
        symbol="EngineCore.step_with_batch_queue",
        need=Contains(("batch_queue.pop()",)),
        used_by=f"{_STALE}.arrived",
        why="Each scheduled step has an output, and they arrive in the order of the steps.",
    ),
    _RESET(
        id="scheduler.reset_prefix_cache",
        need=Parameters(),
        used_by=f"{_OURS}.reset_prefix_cache",
        why="Running requests may begin anew there, while a step of theirs is in flight.",
    ),
    _RESET(
        id="scheduler.reset_preempts",
        need=Calls("self._preempt_request", positional=2),
        used_by=f"{_OURS}.reset_prefix_cache",
        why="What is in flight of them is noted there.",
    ),
    _RESET(
        id="scheduler.reset_drops_what_is_in_flight",
        modes=frozenset(Mode),
        need=Contains(
            (
                "request.discard_latest_async_tokens = True",
                "request.async_tokens_to_discard = request.num_output_placeholders",
                "self._preempt_request(request, timestamp, drop_stale_output=True)",
            )
        ),
        used_by="value_steer.engine.scheduling.reporting.SteeredScheduling._drops",
        why="In another way than these tokens would be dropped that are good, or counted.",
    ),
)

ROWS: tuple[Surface, ...] = (*_PLACEHOLDERS, *_MESSAGES, *_PREEMPTION)
