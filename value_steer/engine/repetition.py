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

    def update_from_output(step: Any, output: Any) -> Any:
        given = update(step, output)
        if [] in output.sampled_token_ids:
            for request_id, row in output.req_id_to_index.items():
                request = scheduler.requests.get(request_id)
                # A part of a prompt gives no token either, but leaves tokens to compute.
                if (
                    request is not None
                    and not output.sampled_token_ids[row]
                    and request.num_computed_tokens == request.num_tokens
                ):
                    request.num_computed_tokens -= 1
        return given

    return update_from_output
