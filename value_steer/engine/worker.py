"""The worker that vLLM instantiates."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any, Literal

import torch

from value_steer import versions
from value_steer.config import parse_settings
from value_steer.engine import hooks, host, lookahead, self_test
from value_steer.engine.assembly import prepare, steer
from value_steer.engine.ledger import Counters

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.core.sched.output import SchedulerOutput

    from value_steer.engine.assembly import Modes
    from value_steer.engine.ledger import Ledger

logger = logging.getLogger("value_steer")


class ValueSteerWorker(host.worker_base()):  # type: ignore[misc]  # the host decides the base
    """The platform's own worker with abstention and value filtering built in.

    Select it with ``--worker-cls value_steer.worker.ValueSteerWorker`` and configure it through
    ``--additional-config``; see :mod:`value_steer.config` for the keys.

    Raises:
        SettingsError: The configuration names an unknown key or a bad value.
        CheckpointError: The head cannot be loaded or does not fit the model.
        UnsupportedError: The engine is configured in a way that cannot be steered.
        SelfTestError: A hook is not reached.
    """

    def __init__(self, vllm_config: VllmConfig, *args: Any, **kwargs: Any) -> None:
        host.adopt_logging()
        settings = parse_settings(vllm_config.additional_config)
        self._modes: Modes | None = prepare(settings, vllm_config.model_config)
        if self._modes is None:
            logger.warning("no mode of value-steer is enabled: this engine runs unsteered")
        else:
            host.refuse_unsupported(vllm_config)
            if self._modes.filtering is not None:
                host.refuse_unfilterable(vllm_config)
                lookahead.require_registration(vllm_config)
        super().__init__(vllm_config, *args, **kwargs)

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        """Load the model as the host does, then put the hooks in."""
        super().load_model(*args, **kwargs)
        if self._modes is not None:
            self._hooks = hooks.install(self.model_runner)

    def compile_or_warm_up_model(self) -> Any:
        """Warm up as the host does, then prove that the hooks are reached."""
        warm_up = super().compile_or_warm_up_model()
        if self._modes is not None:
            steered = steer(self._modes, self, self._hooks, super().execute_model)
            self._steering, self._filter = steered.steering, steered.value_filter
            self_test.run(self, self._hooks.sampler, self._modes.head)
            self._announce(self._modes)
        return warm_up

    def execute_model(self, scheduler_output: SchedulerOutput) -> Any:
        """Run the forward pass of a step whose sampled batch will be judged."""
        if self._modes is None:
            return super().execute_model(scheduler_output)
        self._steering.begin(scheduler_output)
        if scheduler_output.total_num_scheduled_tokens:
            self._hooks.sampler.arm(self._steering)
        if self._filter is not None and self._filter.resume(scheduler_output):
            return None
        return super().execute_model(scheduler_output)

    def sample_tokens(self, grammar_output: Any) -> Any:
        """Sample a batch, and commit other tokens where the head objects."""
        output = super().sample_tokens(grammar_output)
        if self._modes is not None and self._filter is not None:
            # Model Runner V2 gives a promise of its tokens; a decision needs the tokens.
            output = output.get_output() if hasattr(output, "get_output") else output
            with torch.inference_mode():
                self._filter(output)
        return output

    def _announce(self, modes: Modes) -> None:
        """Say once what is steered, and what evidence there is that it works here."""
        if self.rank != 0:
            return
        if (abstention := modes.abstention) is not None:
            logger.info(
                "abstaining when P(good) < %s, from response token %d on (patience %d, head %s)",
                abstention.threshold,
                abstention.settings.min_tokens,
                abstention.settings.patience,
                abstention.settings.value_head_path,
            )
            self._check_evidence("abstain", strict=abstention.settings.strict)
        if (filtering := modes.filtering) is not None:
            logger.info(
                "filtering tokens with P(undesirable) >= %s (%d candidates, fallback %s, head %s)",
                filtering.threshold,
                filtering.settings.num_candidates,
                filtering.settings.fallback.value,
                filtering.settings.value_head_path,
            )
            self._check_evidence("vfd", strict=filtering.settings.strict)

    def _check_evidence(self, mode: Literal["abstain", "vfd"], *, strict: bool) -> None:
        runner = host.runner_kind(self.vllm_config)
        versions.warn_unless_validated(
            host.vllm_version(), host.lane(), runner, mode, strict=strict
        )

    def run_unsteered(self, step: SchedulerOutput) -> Any:
        """Run both calls of a step as the host alone would; for the self-test."""
        output = super().execute_model(step)
        return super().sample_tokens(None) if output is None else output

    def steer_outcomes(self) -> list[dict[str, Any]]:
        """What became of the last finished requests, oldest first.

        For ``LLM.collective_rpc("steer_outcomes")``, which carries plain values only; the keys
        are the fields of :class:`value_steer.engine.ledger.Outcome`.
        """
        ledger = self._ledger()
        return [dataclasses.asdict(outcome) for outcome in ledger.outcomes()] if ledger else []

    def steer_counters(self) -> dict[str, int]:
        """Totals of this process; the keys are the fields of ``engine.ledger.Counters``."""
        ledger = self._ledger()
        return dataclasses.asdict(ledger.counters if ledger else Counters())

    def _ledger(self) -> Ledger | None:
        return None if self._modes is None else self._steering.ledger
