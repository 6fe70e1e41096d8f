"""The worker that vLLM instantiates."""

from __future__ import annotations

import dataclasses
import logging
import os
from typing import TYPE_CHECKING, Any

import value_steer
from value_steer import versions
from value_steer.config import is_disabled, parse_settings
from value_steer.engine import controls, hooks, host, self_test
from value_steer.engine.assembly import pass_on, place, steer
from value_steer.engine.logs import adopt_logging
from value_steer.engine.modes import prepare
from value_steer.engine.scheduling.outcomes import Counters
from value_steer.engine.scheduling.recording import check_directory
from value_steer.engine.scheduling.registration import REMEDY, is_ours
from value_steer.engine.steps import PassedOnSteps
from value_steer.errors import SettingsError

if TYPE_CHECKING:
    from vllm.config import VllmConfig

    from value_steer.engine.assembly import Placed
    from value_steer.engine.hooks import StepFollower
    from value_steer.engine.modes import Modes
    from value_steer.engine.steps import SteeredSteps
    from value_steer.versions import Assessment

logger = logging.getLogger("value_steer")

_RUST_FRONT_END = "VLLM_USE_RUST_FRONTEND"


class ValueSteerWorker(host.worker_base()):  # type: ignore[misc]  # the host decides the base
    """The platform's own worker with abstention and value filtering built in.

    Select it with ``--worker-cls value_steer.worker.ValueSteerWorker`` and configure it through
    ``--additional-config``; see :mod:`value_steer.config` for the keys.

    Raises:
        SettingsError: The configuration names an unknown key or a bad value.
        CheckpointError: The head cannot be loaded or does not fit the model.
        UnsupportedError: The engine is configured in a way that cannot be steered.
        SelfTestError: A hook is not reached.

    Attributes:
        modes: What is enabled; ``None`` if this engine runs as plain vLLM.
    """

    def __init__(self, vllm_config: VllmConfig, *args: Any, **kwargs: Any) -> None:
        adopt_logging()
        settings = parse_settings(vllm_config.additional_config)
        versions.check_environment()
        disabled = is_disabled()
        self.modes: Modes | None = None if disabled else prepare(settings, vllm_config)
        self._steps: SteeredSteps | PassedOnSteps | None = None
        self._placed: Placed | None = None  # a pipeline stage that samples nothing has no heads
        self._evidence: dict[str, Assessment] = {}
        if disabled:
            logger.error("VALUE_STEER_DISABLE is set: THIS ENGINE SERVES UNSTEERED")
        elif self.modes is None:
            logger.warning("no mode of value-steer is enabled: this engine runs unsteered")
        else:
            host.refuse_unsupported(vllm_config)
            if self.modes.filtering is not None:
                host.refuse_unfilterable(vllm_config)
            elif not is_ours(vllm_config):
                logger.warning(
                    "%s. Until then requests are steered, but nobody is told why one ended", REMEDY
                )
        super().__init__(vllm_config, *args, **kwargs)
        if self.modes is not None and self.rank == 0:
            # Before the minutes that loading a model may take.
            self._check_evidence(self.modes)
            if settings.record is not None:
                host.refuse_unrecordable(vllm_config)
                check_directory(settings.record)

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        """Load the model as the host does, then put the hooks in and the heads on its device.

        Before the host measures how much memory is left for its cache, so that it counts them.
        """
        super().load_model(*args, **kwargs)
        if self.modes is not None:
            drafts = host.drafted_tokens(self.vllm_config) > 0
            self._hooks = hooks.install(self.model_runner, drafts=drafts)
            self._placed = place(self.modes, self, self._hooks) if host.samples() else None

    def compile_or_warm_up_model(self) -> Any:
        """Warm up as the host does, then prove that the hooks are reached, and follow every step.

        The host's warm-up makes steps of its own through this worker's two calls; nobody follows
        them. Where it is called again on an engine that serves (elastic expert parallelism), what
        is known of the live requests stays.
        """
        if self.modes is None:
            return super().compile_or_warm_up_model()
        calls = self._hooks.calls
        calls.follow(None)
        warm_up = super().compile_or_warm_up_model()
        drafts = host.drafted_tokens(self.vllm_config)
        probe = None if self._placed is None else self._placed.probe
        self_test.run(self, self._hooks, probe, drafts=drafts)
        if self._steps is None:
            self._steps = (
                pass_on(self.modes, self)
                if self._placed is None
                else steer(self.modes, self, self._hooks, self._placed)
            )
            self._announce(self.modes)
        steps = self._steps
        calls.follow(steps if isinstance(steps, PassedOnSteps) else self.follower(steps))
        return warm_up

    def follower(self, steps: SteeredSteps) -> StepFollower:
        """Who follows the steps of this worker; a worker derived from it may add to that."""
        return steps

    def _announce(self, modes: Modes) -> None:
        """Say once what is steered."""
        if self.rank != 0:
            return
        if os.environ.get(_RUST_FRONT_END, "0") not in {"", "0"}:
            logger.warning(
                "%s is set: `vllm serve` runs no middleware then, so answers say nothing of "
                "steering, and a request with bad settings gets no error but ends at once",
                _RUST_FRONT_END,
            )
        if modes.control_share:
            logger.warning(
                "%g %% of the requests are judged, recorded and NOT ACTED ON (record.share)",
                100 * modes.control_share,
            )
        if (abstention := modes.abstention) is not None:
            logger.info(
                "abstaining when P(good) < %s, from response token %d on (patience %d, head %s)",
                abstention.threshold,
                abstention.settings.min_tokens,
                abstention.settings.patience,
                abstention.settings.value_head_path,
            )
        if (filtering := modes.filtering) is not None:
            logger.info(
                "filtering tokens with P(undesirable) >= %s (%d candidates, fallback %s, head %s)",
                filtering.threshold,
                filtering.settings.num_candidates,
                filtering.settings.fallback.value,
                filtering.settings.value_head_path,
            )

    def _check_evidence(self, modes: Modes) -> None:
        """Say what evidence there is that the enabled modes work here."""
        runner = host.runner_kind(self.vllm_config)
        for mode, enabled in (("abstain", modes.abstention), ("vfd", modes.filtering)):
            if enabled is not None:
                assessment = versions.warn_unless_validated(
                    host.vllm_version(),
                    host.lane(self.vllm_config),
                    runner,
                    mode,
                    strict=enabled.settings.strict,
                )
                if assessment is not None:
                    self._evidence[mode] = assessment

    def steer_outcomes(self, request_ids: list[str] | None = None) -> list[dict[str, Any]]:
        """The outcomes of the last finished requests, oldest first, or of those that are named.

        For ``LLM.collective_rpc("steer_outcomes")``, which carries plain values only; the keys
        are the fields of :class:`value_steer.engine.scheduling.outcomes.Outcome`.
        """
        if self._steps is None:
            return []
        outcomes = self._steps.mirror.outcomes(request_ids)
        return [dataclasses.asdict(outcome) for outcome in outcomes]

    def steer_answers(self, names: list[str]) -> dict[str, dict[str, dict[str, Any]]]:
        """The outcomes of requests, by the ids that their callers know and the answer's number."""
        if self._steps is None:
            return {}
        return {
            name: {str(index): dataclasses.asdict(outcome) for index, outcome in found.items()}
            for name, found in self._steps.mirror.answers(names).items()
        }

    def steer_counters(self) -> dict[str, Any]:
        """Totals of this engine; the keys are those of ``engine.scheduling.outcomes.Counters``."""
        counters = Counters() if self._steps is None else self._steps.mirror.counters
        return dataclasses.asdict(counters)

    def steer_status(self) -> dict[str, Any]:
        """The versions, modes and evidence of this engine; plain values only."""
        modes = {}
        if self.modes is not None and self._steps is not None:
            modes = controls.described(self.modes, self._steps.table.admit)
        return {
            "version": value_steer.__version__,
            "vllm": host.vllm_version(),
            "lane": host.lane(self.vllm_config),
            "runner": host.runner_kind(self.vllm_config),
            "disabled": is_disabled(),
            "modes": modes,
            "control_share": 0.0 if self.modes is None else self.modes.control_share,
            "evidence": {
                mode: {"standing": found.standing.value, "message": found.message}
                for mode, found in self._evidence.items()
            },
        }

    def steer_set_thresholds(self, thresholds: dict[str, Any]) -> dict[str, Any]:
        """Change the thresholds for the requests that come from now on; what applies then.

        Raises:
            SettingsError: Lists every problem; nothing is changed then.
        """
        if self.modes is None or self._steps is None:
            msg = "this engine runs unsteered: it has no thresholds"
            raise SettingsError(msg)
        table = self._steps.table
        return controls.described(self.modes, controls.set_thresholds(table, thresholds))
