"""The worker that captures: ``--worker-cls value_steer.features.worker.CapturingWorker``.

It serves as :class:`ValueSteerWorker` does with value filtering on and a head that never objects.
So every token is judged as it is in serving, the last one of a response included, and the hidden
states kept are those that a head would score.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_steer.engine.worker import ValueSteerWorker
from value_steer.errors import UnsupportedError
from value_steer.features.keys import CAPTURE_KEY
from value_steer.features.recorder import Recorder
from value_steer.features.shards import DTYPES, store_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from value_steer.engine.hooks import StepFollower
    from value_steer.engine.modes import Modes
    from value_steer.engine.steps import SteeredSteps


class CapturingWorker(ValueSteerWorker):
    """Keeps the hidden states of requests that carry a capture key in their ``extra_args``.

    Configure it with :func:`value_steer.features.capture.engine_options`.

    Raises:
        UnsupportedError: The engine would change what it captures.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.modes is None or not _is_neutral(self.modes):
            msg = (
                "capturing needs value filtering with a head that never objects, and no "
                "abstention: take additional_config from "
                "value_steer.features.capture.engine_options"
            )
            raise UnsupportedError(msg)
        self._recorder = Recorder()

    def follower(self, steps: SteeredSteps) -> StepFollower:
        """Follow the steps as serving does, and keep what they show."""
        return CapturingSteps(steps, self._recorder)

    def write_captured(
        self, folder: str, dtype: str, keys: Sequence[str], lengths: Sequence[int]
    ) -> list[str] | None:
        """Write what was captured into a shard's file and forget all of it.

        For ``LLM.collective_rpc``, while no captured request runs.

        Args:
            folder: Of the cache.
            dtype: To store the states in.
            keys: Of the requests, in the order of the shard.
            lengths: Response tokens of each.

        Returns:
            The file's name and checksum; ``None`` on all ranks but the first, whose states are
            the same.

        Raises:
            CaptureError: One of them was not captured.
        """
        taken = self._recorder.take(keys, lengths)
        if self.rank != 0:
            return None
        stored = store_tensors(
            Path(folder),
            [one.tokens for one in taken],
            [one.hidden for one in taken],
            [one.prior for one in taken],
            DTYPES[dtype],
        )
        return [stored.name, stored.sha256]


class CapturingSteps:
    """Follows the steps of a model runner, and gives a recorder the hidden states that they show.

    Args:
        steps: What serving does around each step.
        recorder: Keeps the states.
    """

    def __init__(self, steps: SteeredSteps, recorder: Recorder) -> None:
        self._steps = steps
        self._recorder = recorder

    def begin(self, step: Any) -> Any:
        """Take in a step, and who enters and leaves with it."""
        for request_id in step.finished_req_ids:
            self._recorder.finish(request_id)
        for new in step.scheduled_new_reqs:
            key = (new.sampling_params.extra_args or {}).get(CAPTURE_KEY)
            if key is not None:
                self._recorder.admit(new.req_id, str(key), len(new.prompt_token_ids))
        step = self._steps.begin(step)
        if step.total_num_scheduled_tokens:
            self._steps.sampler.arm(self._note)
        return step

    def end(self, output: Any) -> Any:
        """Give out what serving would."""
        return self._steps.end(output)

    def _note(self, sample: Callable[[], Any], logits: Tensor, feature: Tensor | None) -> Any:
        """Keep the states at the ends of the sequences, then let the steering act as it would."""
        steering = self._steps.steering
        if feature is not None:
            table, ids = steering.table, self._steps.row_ids()
            ends = {n: table[n].length + table.age for n in ids if table[n].complete}
            self._recorder.note(ends, self._steps.lag.held_token, ids, feature)
        return steering(sample, logits, feature)


def _is_neutral(modes: Modes) -> bool:
    """Whether every token is judged and none is ever refused."""
    if modes.filtering is None or modes.abstention is not None:
        return False
    return not any(bool(p.any()) for p in modes.filtering.head.parameters())
