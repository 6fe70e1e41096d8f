"""A step that a request does again, from the scheduler's side.

The scheduler counts a token as computed once its step is scheduled. A request whose new token was
withheld has nothing left to compute then, and would never be scheduled again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def repeating(scheduler: Any, update: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Wrap a scheduler's ``update_from_output`` so that requests without a token go on.

    Their last token counts as not computed, as it does where vLLM itself rejects a draft.
    """

    def update_from_output(scheduler_output: Any, model_runner_output: Any) -> Any:
        given = update(scheduler_output, model_runner_output)
        tokens, rows = model_runner_output.sampled_token_ids, model_runner_output.req_id_to_index
        if [] in tokens:
            for request_id in (name for name, row in rows.items() if not tokens[row]):
                request = scheduler.requests.get(request_id)
                # A part of a prompt gives no token either, but leaves tokens to compute.
                if request is not None and request.num_computed_tokens == request.num_tokens:
                    request.num_computed_tokens -= 1
        return given

    return update_from_output
