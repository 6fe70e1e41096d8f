"""Operations on an engine beside generation; runs where the engine does."""

from __future__ import annotations

import copy
import itertools
from typing import TYPE_CHECKING, Any

from compat.behaviour import tiny_images

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from vllm import LLM, SamplingParams

_SESSIONS = itertools.count()


def prompt_of(engine: LLM, request: dict[str, Any]) -> dict[str, Any]:
    """The prompt of a request as vLLM takes it."""
    if request["image"] is not None:
        image = tiny_images.image(request["image"])
        return {"prompt_token_ids": request["prompt"], "multi_modal_data": {"image": image}}
    if not request["embedded"]:
        return {"prompt_token_ids": request["prompt"]}
    (embeddings,) = engine.collective_rpc(_embed, args=(request["prompt"],))
    return {"prompt_embeds": embeddings}


def _embed(worker: Any, tokens: list[int]) -> Tensor:
    import torch

    model = worker.model_runner.get_model()
    with torch.inference_mode():
        embedded: Tensor = model.embed_input_ids(torch.tensor(tokens, device=worker.device))
    return embedded.cpu().clone()


def params_of(request: dict[str, Any]) -> SamplingParams:
    """The sampling parameters of a request."""
    from vllm import SamplingParams
    from vllm.sampling_params import StructuredOutputsParams

    keywords = dict(request["params"])
    if bias := keywords.pop("logit_bias", None):
        keywords["logit_bias"] = {int(token): value for token, value in bias.items()}
    if grammar := keywords.pop("structured_outputs", None):
        keywords["structured_outputs"] = StructuredOutputsParams(**grammar)
    return SamplingParams(**keywords)


def converse(engine: LLM, call: dict[str, Any]) -> list[list[int]]:
    """Do as ``AsyncLLM`` does with a prompt that arrives in pieces."""
    from vllm.sampling_params import RequestOutputKind

    host = engine.llm_engine
    name = f"{next(_SESSIONS)}session"

    def enter(request: dict[str, Any], request_id: str, *, resumable: bool) -> Any:
        params = params_of(request)
        params.output_kind = RequestOutputKind.DELTA
        return host.input_processor.process_inputs(
            request_id,
            prompt_of(engine, request),
            params,
            supported_tasks=host.get_supported_tasks(),
            resumable=resumable,
        )

    def queue(entered: Any) -> None:
        host.output_processor.add_request(entered, None)
        # Either side extends its own list of prompt tokens.
        host.engine_core.add_request(copy.deepcopy(entered))

    last = enter(call["chunks"][0], name, resumable=False)
    host.input_processor.assign_request_id(last)
    answers: list[list[int]] = []
    for chunk in call["chunks"]:
        entered = enter(chunk, last.request_id, resumable=True)
        entered.external_req_id = name
        queue(entered)
        answers.append([])
        ended = False
        while not ended:
            for output in host.step():
                answers[-1] += output.outputs[0].token_ids
                ended = output.outputs[0].finish_reason is not None
    queue(last)
    while host.has_unfinished_requests():
        host.step()
    return answers


def search_beams(engine: LLM, call: dict[str, Any]) -> list[list[int]]:
    """See ``Engine.search_beams``."""
    from vllm.sampling_params import BeamSearchParams

    params = BeamSearchParams(beam_width=call["width"], max_tokens=call["tokens"])
    (found,) = engine.beam_search([{"prompt_token_ids": call["prompt"]}], params)
    return [list(sequence.tokens) for sequence in found.sequences]


def _scale(engine: LLM, factor: float) -> None:
    engine.collective_rpc(_scale_parameters, args=(factor,))


def _scale_parameters(worker: Any, factor: float) -> None:
    import torch

    with torch.no_grad():
        for parameter in worker.model_runner.get_model().parameters():
            parameter.mul_(factor)


def _reload(engine: LLM, folder: str | None) -> None:
    engine.collective_rpc("reload_weights", kwargs={"weights_path": folder})


def _reset_cache(engine: LLM, _: object) -> None:
    assert engine.llm_engine.reset_prefix_cache(reset_running_requests=True)


def _pause(engine: LLM, level: int) -> None:
    engine.sleep(level=level, mode="keep")


def _resume(engine: LLM, tags: list[str] | None) -> None:
    engine.wake_up(tags)


def _set_thresholds(engine: LLM, thresholds: dict[str, float]) -> None:
    engine.collective_rpc("steer_set_thresholds", args=(thresholds,))


EVENTS: dict[str, Callable[[LLM, Any], None]] = {
    "scale": _scale,
    "set_thresholds": _set_thresholds,
    "reload": _reload,
    "reset_cache": _reset_cache,
    "pause": _pause,
    "resume": _resume,
}
"""Events that an engine may meet while it serves a schedule."""
