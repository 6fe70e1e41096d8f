"""Which scheduler an engine that steers gets, and what it needs of the host's own in both modes."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import (
    Assigns,
    Calls,
    Contains,
    Exists,
    Extensible,
    Fields,
    IsClass,
    Order,
    Parameters,
    Property,
)
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset(Runner), modes=frozenset(Mode))
_VFD = partial(_ROW, modes=frozenset({Mode.VFD}))
_ARGUMENTS = partial(_ROW, path="vllm/engine/arg_utils.py")
_CONFIG = partial(_ROW, path="vllm/config/scheduler.py")
_VLLM = partial(_ROW, path="vllm/config/vllm.py", symbol="VllmConfig")
_SCHEDULER = partial(_ROW, path="vllm/v1/core/sched/scheduler.py")
_UPDATE = partial(_SCHEDULER, symbol="Scheduler.update_from_output")
_REQUEST = partial(_ROW, path="vllm/v1/request.py")

_REGISTER = "value_steer.engine.scheduling.registration.register"
_CHOOSE = "value_steer.engine.scheduling.registration.configure"
_REFUSE = "value_steer.engine.host.refuse_unfilterable"
_OURS = "value_steer.engine.scheduling.reporting.SteeredScheduling"
_RECORD = "value_steer.engine.scheduling.recording.Recorder._answers"

_REGISTRATION: tuple[Surface, ...] = (
    _ARGUMENTS(
        id="engine_args.create_engine_config",
        symbol="EngineArgs.create_engine_config",
        need=Parameters(),
        used_by=_REGISTER,
        why="It is wrapped; made elsewhere, a configuration would keep the host's scheduler.",
    ),
    _ARGUMENTS(
        id="engine_args.loads_plugins",
        symbol="EngineArgs.__post_init__",
        need=Calls("load_general_plugins"),
        used_by=_REGISTER,
        why="The wrapper must be there before the configuration is made.",
    ),
    _CONFIG(
        id="scheduler_config.scheduler",
        symbol="SchedulerConfig",
        need=Fields(("scheduler_cls", "async_scheduling"), writable=True),
        used_by=_CHOOSE,
        why="The scheduler is chosen by its name, to fit how steps are scheduled.",
    ),
    _CONFIG(
        id="scheduler_config.resolves_a_name",
        symbol="SchedulerConfig.get_scheduler_cls",
        need=Calls("resolve_obj_by_qualname", positional=1),
        used_by=_CHOOSE,
        why="The process that schedules finds the class by the qualified name in the field.",
    ),
    _ROW(
        id="engine_core.builds_chosen_scheduler",
        path="vllm/v1/engine/core.py",
        symbol="EngineCore.__init__",
        need=Calls("vllm_config.scheduler_config.get_scheduler_cls"),
        used_by=_CHOOSE,
        why="Built in another way, the scheduler would be the host's and tokens be lost.",
    ),
    _VLLM(
        id="vllm_config.instance_id",
        need=Fields(("instance_id",)),
        used_by="value_steer.engine.assembly.steer",
        why="A worker finds the ledger of its engine by it.",
    ),
    _VLLM(
        id="vllm_config.makes_instance_id",
        need=Assigns(("instance_id",)),
        used_by=f"{_OURS}.__init__",
        why="With an empty one, engines in one process would share a ledger.",
    ),
    _VFD(
        id="vllm_config.kv_transfer_config",
        path="vllm/config/vllm.py",
        symbol="VllmConfig",
        need=Fields(("kv_transfer_config",)),
        used_by=_REFUSE,
        why="The cache of a token that is not committed must not be sent anywhere.",
    ),
    _VFD(
        id="model_config.has_inner_state",
        path="vllm/config/model.py",
        symbol="ModelConfig.has_inner_state",
        need=Property(),
        used_by=_REFUSE,
        why="A recurrent state cannot take a token back.",
    ),
    _VFD(
        id="model_config.max_model_len",
        path="vllm/config/model.py",
        symbol="ModelConfig",
        need=Fields(("max_model_len",)),
        used_by="value_steer.engine.assembly._value_filter",
        why="What is sampled behind the last token that a sequence may have must not be booked.",
    ),
)

_OUTCOMES: tuple[Surface, ...] = (
    _SCHEDULER(
        id="scheduler.vllm_config",
        symbol="Scheduler",
        need=Assigns(("vllm_config",)),
        used_by=f"{_OURS}.__init__",
        why="The engine's id and settings are read from it.",
    ),
    _SCHEDULER(
        id="scheduler.schedule",
        symbol="Scheduler.schedule",
        need=Exists(),
        used_by=f"{_OURS}.schedule",
        why="Outcomes travel to workers in other processes with the message that it makes.",
    ),
    _ROW(
        id="scheduler_output.takes_an_attribute",
        path="vllm/v1/core/sched/output.py",
        symbol="SchedulerOutput",
        need=Extensible(),
        used_by="value_steer.engine.scheduling.mirror.tell",
        why="Outcomes travel as an attribute of it.",
    ),
    _UPDATE(
        id="scheduler.update_from_output",
        need=Parameters(("scheduler_output", "model_runner_output")),
        used_by=f"{_OURS}.update_from_output",
        why="What the worker said of a step is taken in with its tokens.",
    ),
    _UPDATE(
        id="scheduler.updates_each_request",
        need=Calls("self._update_request_with_output", positional=2),
        used_by=f"{_OURS}._update_request_with_output",
        why="Inlined, nobody would learn why a request ended.",
    ),
    _SCHEDULER(
        id="scheduler.update_request_with_output",
        symbol="Scheduler._update_request_with_output",
        need=Parameters(("request", "new_token_ids")),
        used_by=f"{_OURS}._update_request_with_output",
        why="Tokens that end a request are told from others by what it gives back.",
    ),
    _SCHEDULER(
        id="scheduler.checks_stop_there",
        symbol="Scheduler._update_request_with_output",
        need=Calls("check_stop", positional=2),
        used_by=f"{_OURS}._update_request_with_output",
        why="It writes a stop_reason of its own, which is overwritten afterwards.",
    ),
    _SCHEDULER(
        id="scheduler.returns_whether_stopped",
        symbol="Scheduler._update_request_with_output",
        need=Contains(("return new_token_ids, stopped",)),
        used_by=f"{_OURS}._update_request_with_output",
        why="The second of the pair says whether the request has ended.",
    ),
    _UPDATE(
        id="scheduler.tells_stop_reason_afterwards",
        need=Order("self._update_request_with_output", "EngineCoreOutput"),
        used_by=f"{_OURS}._update_request_with_output",
        why="The stop_reason that is written there must be the one that a client reads.",
    ),
    _UPDATE(
        id="scheduler.tells_stop_reason",
        need=Contains(("request.stop_reason",)),
        used_by=f"{_OURS}._update_request_with_output",
        why="A client learns from it that value-steer ended the request.",
    ),
    _ROW(
        id="engine_core_output.stop_reason",
        path="vllm/v1/engine/__init__.py",
        symbol="EngineCoreOutput",
        need=Fields(("stop_reason",)),
        used_by=f"{_OURS}._update_request_with_output",
        why="A client learns from it that value-steer ended the request.",
    ),
    _REQUEST(
        id="request.stop_reason",
        symbol="Request.__init__",
        need=Contains(("self.stop_reason: int | str | None = None", "self.stop_reason = None")),
        used_by=f"{_OURS}._update_request_with_output",
        why="Under another name, what is written would be read by nobody.",
    ),
    _REQUEST(
        id="request.request_id",
        symbol="Request",
        need=Assigns(("request_id",)),
        used_by=f"{_OURS}._free_request",
        why="What a worker says of a request is found by it.",
    ),
    _REQUEST(
        id="request.arrival_time",
        symbol="Request",
        need=Assigns(("arrival_time",)),
        used_by=f"{_OURS}._free_request",
        why="It tells the outcome of an answer from that of an earlier one under the same id.",
    ),
    _REQUEST(
        id="request.num_output_tokens",
        symbol="Request.num_output_tokens",
        need=Property(),
        used_by=f"{_OURS}._free_request",
        why="The outcome says how many tokens a request had when it was ended.",
    ),
    _SCHEDULER(
        id="scheduler.free_request",
        symbol="Scheduler._free_request",
        need=Parameters(("request",)),
        used_by=f"{_OURS}._free_request",
        why="An outcome is closed where its request is freed.",
    ),
    _UPDATE(
        id="scheduler.frees_what_ended",
        need=Calls("self._free_request", positional=1),
        used_by=f"{_OURS}._free_request",
        why="Freed in another way, requests would have no outcomes and the ledger would grow.",
    ),
    _SCHEDULER(
        id="scheduler.frees_what_was_aborted",
        symbol="Scheduler.finish_requests",
        need=Calls("self._free_request", positional=1),
        used_by=f"{_OURS}._free_request",
        why="Freed in another way, requests would have no outcomes and the ledger would grow.",
    ),
    _ROW(
        id="async_scheduler.is_scheduler",
        path="vllm/v1/core/sched/async_scheduler.py",
        symbol="AsyncScheduler",
        need=IsClass(bases=("Scheduler",)),
        used_by=f"{_OURS}.__init__",
        why="One class in front of either scheduler serves both kinds of engine.",
    ),
)

_RECORDS: tuple[Surface, ...] = (
    _REQUEST(
        id="request.prompt_and_parameters",
        symbol="Request",
        need=Assigns(("prompt_token_ids", "num_prompt_tokens", "sampling_params")),
        used_by=_RECORD,
        why="A recorded answer says which prompt it is to and how it was sampled.",
    ),
    _REQUEST(
        id="request.get_finished_reason",
        symbol="Request.get_finished_reason",
        need=Parameters(),
        used_by=_RECORD,
        why="An answer that was aborted is not whole, and is not recorded.",
    ),
    _ROW(
        id="finish_reason.words",
        path="vllm/v1/engine/__init__.py",
        symbol="FinishReason.__str__",
        need=Contains(("FINISH_REASON_STRINGS[self.value]",)),
        used_by=_RECORD,
        why="Why an answer has ended is told by its word.",
    ),
    _ROW(
        id="sampling_params.recorded",
        path="vllm/sampling_params.py",
        symbol="SamplingParams",
        need=Fields(("temperature", "top_p", "top_k", "min_p", "max_tokens")),
        used_by=_RECORD,
        why="A calibration holds for answers that are sampled as it was.",
    ),
    _ROW(
        id="sampling_params.stop",
        path="vllm/sampling_params.py",
        symbol="SamplingParams",
        need=Fields(("stop",)),
        used_by="value_steer.engine.admission.Admission._is_control",
        why="A request that ends on text is aborted by the front end, whole as its answer may be.",
    ),
)

ROWS: tuple[Surface, ...] = (*_REGISTRATION, *_OUTCOMES, *_RECORDS)
