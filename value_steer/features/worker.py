"""The worker that captures: ``--worker-cls value_steer.features.worker.CapturingWorker``.

It serves as :class:`ValueSteerWorker` does with value filtering on and a head that never objects.
So every token is run ahead as it is in serving, the last one of a response included, and the
hidden states kept are those that a head would score.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from value_steer.engine import host
from value_steer.engine.worker import ValueSteerWorker
from value_steer.errors import UnsupportedError
from value_steer.features.keys import CAPTURE_KEY
from value_steer.features.recorder import Recorder
from value_steer.features.shards import DTYPES, store_tensors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from value_steer.engine.assembly import Modes


class CapturingWorker(ValueSteerWorker):
    """Keeps the hidden states of requests that carry a capture key in their ``extra_args``.

    Configure it with :func:`value_steer.features.capture.engine_options`.

    Raises:
        UnsupportedError: The engine would change what it captures.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self._modes is None or not _is_neutral(self._modes):
            msg = (
                "capturing needs value filtering with a head that never objects, and no "
                "abstention: take additional_config from "
                "value_steer.features.capture.engine_options"
            )
            raise UnsupportedError(msg)
        self._recorder = Recorder()

    def execute_model(self, scheduler_output: Any) -> Any:
        """Run the first call of a step, and follow who enters and leaves."""
        for request_id in scheduler_output.finished_req_ids:
            self._recorder.finish(request_id)
        for new in scheduler_output.scheduled_new_reqs:
            key = (new.sampling_params.extra_args or {}).get(CAPTURE_KEY)
            if key is not None:
                self._recorder.admit(new.req_id, str(key), len(new.prompt_token_ids))
        output = super().execute_model(scheduler_output)
        if scheduler_output.total_num_scheduled_tokens:
            self._hooks.sampler.arm(self._note_priors)
        return output

    def sample_tokens(self, grammar_output: Any) -> Any:
        """Sample a batch and keep the states after its tokens, which were run ahead."""
        output = super().sample_tokens(grammar_output)
        ahead = None if self._filter is None else self._filter.ahead
        if output is not None and ahead is not None:
            tokens = {
                name: sampled[0]
                for name, sampled in zip(output.req_ids, output.sampled_token_ids, strict=True)
                if len(sampled)
            }
            look = ahead.look
            self._recorder.note_tokens(ahead.ends.positions, tokens, look.ids, look.feature)
        return output

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

    def _note_priors(
        self, sample: Callable[[], Any], logits: Tensor, feature: Tensor | None
    ) -> Any:
        """Keep the states at the ends of prompts, then let the steering act as it would."""
        table = self._steering.table
        if feature is not None and table.age == 0:
            lengths = {name: table[name].length for name in table if table[name].complete}
            self._recorder.note_priors(lengths, self._row_ids(), feature)
        return self._steering(sample, logits, feature)

    def _row_ids(self) -> Sequence[str]:
        if host.runner_kind(self.vllm_config) == "v1":
            ids: Sequence[str] = self.model_runner.input_batch.req_ids
        else:
            ids = self._hooks.sampler.arguments[0].req_ids
        return ids


def _is_neutral(modes: Modes) -> bool:
    """Whether every token is run ahead and none is ever refused."""
    if modes.filtering is None or modes.abstention is not None:
        return False
    return not any(bool(p.any()) for p in modes.filtering.head.parameters())
