"""Value filtering on Model Runner V1: a position taken again, and further draws."""

from __future__ import annotations

from functools import partial

from value_steer.contracts.needs import Assigns, Calls, Contains, Fields, IsClass, Parameters
from value_steer.contracts.surface import Mode, Runner, Surface

_ROW = partial(Surface, runners=frozenset({Runner.V1}), modes=frozenset({Mode.VFD}))
_RUNNER = partial(_ROW, path="vllm/v1/worker/gpu_model_runner.py")
_BOOKS = partial(_RUNNER, symbol="GPUModelRunner._bookkeeping_sync")
_FOLLOWS = partial(_RUNNER, symbol="GPUModelRunner._update_states")
_BATCH = partial(_ROW, path="vllm/v1/worker/gpu_input_batch.py")
_SAMPLER = partial(_ROW, path="vllm/v1/sample/sampler.py")
_TOP = partial(_ROW, path="vllm/v1/sample/ops/topk_topp_sampler.py")

_RUNS_AGAIN = "value_steer.engine.runners.v1.RunnerV1.run_again"
_DRAWS = "value_steer.engine.runners.v1.DrawsV1"

_AGAIN: tuple[Surface, ...] = (
    _RUNNER(
        id="runner.requests",
        symbol="GPUModelRunner",
        need=Assigns(("requests",)),
        used_by=_RUNS_AGAIN,
        why="The tokens of a request, and its generator, are found there by its id.",
    ),
    _BATCH(
        id="input_batch.num_tokens_no_spec",
        symbol="InputBatch",
        need=Assigns(("num_tokens_no_spec",)),
        used_by=_RUNS_AGAIN,
        why="The host books a token behind as many; one less makes it take the last one's place.",
    ),
    _BATCH(
        id="cached_request_state.fields",
        symbol="CachedRequestState",
        need=Fields(("output_token_ids", "generator")),
        used_by=_RUNS_AGAIN,
        why="Penalties read the tokens there, from which the last one is taken off.",
    ),
    _BOOKS(
        id="runner.books_behind_the_last_token",
        need=Contains(("start_idx = self.input_batch.num_tokens_no_spec[req_idx]",)),
        used_by=_RUNS_AGAIN,
        why="Booked elsewhere, the next forward pass would read the refused token.",
    ),
    _BOOKS(
        id="runner.extends_output_tokens",
        need=Contains(("req_state.output_token_ids.extend(sampled_ids)",)),
        used_by=_RUNS_AGAIN,
        why="The list gets back as many tokens as were taken off.",
    ),
    _BOOKS(
        id="runner.feeds_back_what_was_sampled",
        need=Contains(("self.input_batch.prev_sampled_token_ids = sampled_token_ids",)),
        used_by=_RUNS_AGAIN,
        why="With asynchronous scheduling the next forward pass reads its tokens there.",
    ),
    _BOOKS(
        id="runner.refuses_to_book_too_long_a_sequence",
        need=Contains(("end_idx <= self.max_model_len",)),
        used_by="value_steer.engine.filtering.value_filter.ValueFilter._give_out",
        why="What is sampled behind the last token that a sequence may have is not booked.",
    ),
    _FOLLOWS(
        id="runner.drops_output_tokens",
        need=Contains(("num_output_tokens < len(req_state.output_token_ids)",)),
        used_by="value_steer.engine.delivery.lag._changed",
        why="By a count that was too high a refused token would stay in the sequence.",
    ),
    _FOLLOWS(
        id="runner.rebuilds_output_tokens",
        need=Contains(("resumed_token_ids[-num_output_tokens:]",)),
        used_by="value_steer.engine.delivery.lag.Lag._tails",
        why="With asynchronous scheduling a request that comes back gets its tokens from there.",
    ),
)

_DRAW: tuple[Surface, ...] = (
    _TOP(
        id="sampling.apply_top_k_top_p",
        symbol="apply_top_k_top_p",
        need=Parameters(("logits", "k", "p")),
        used_by="value_steer.engine.runners.v1.DistributionsV1.of",
        why="Candidates are drawn, and weighed, after top-k and top-p.",
    ),
    _TOP(
        id="sampling.top_sampler_is_module",
        symbol="TopKTopPSampler",
        need=IsClass(bases=("Module",)),
        used_by=f"{_DRAWS}.__init__",
        why="What it draws from is intercepted by a hook.",
    ),
    _SAMPLER(
        id="sampler.state",
        symbol="Sampler",
        need=Assigns(("topk_topp_sampler",)),
        used_by=f"{_DRAWS}.__init__",
        why="It draws from the processed distribution.",
    ),
    _SAMPLER(
        id="sampler.greedy_sample",
        symbol="Sampler.greedy_sample",
        need=Parameters(("logits",)),
        used_by=f"{_DRAWS}._greedy_sample",
        why="It is replaced by a function that is called alike.",
    ),
    _SAMPLER(
        id="sampler.gather_logprobs",
        symbol="Sampler.gather_logprobs",
        need=Parameters(("logprobs", "num_logprobs", "token_ids")),
        used_by=f"{_DRAWS}._gather_logprobs",
        why="It is replaced by a function that is called alike.",
    ),
    _SAMPLER(
        id="sampler.draws",
        symbol="Sampler.sample",
        need=Calls("self.topk_topp_sampler", positional=4),
        used_by=f"{_DRAWS}._intercept_draw",
        why="The processed logits, the generators, top-k and top-p are the arguments of this call.",
    ),
    _TOP(
        id="sampler.draw_arguments",
        symbol="TopKTopPSampler.forward_native",
        need=Parameters(("logits", "generators", "k", "p")),
        used_by=f"{_DRAWS}._intercept_draw",
        why="They are told from one another by their places.",
    ),
    _SAMPLER(
        id="sampler.is_greedy",
        symbol="Sampler.sample",
        need=Calls("self.greedy_sample", positional=1),
        used_by=f"{_DRAWS}._greedy_sample",
        why="The processed logits of greedy rows are the argument of this call.",
    ),
    _SAMPLER(
        id="sampler.gathers_logprobs",
        symbol="Sampler.forward",
        need=Calls("self.gather_logprobs", positional=2, keywords=("token_ids",)),
        used_by=f"{_DRAWS}._gather_logprobs",
        why="The log-probabilities of another token are gathered from the same table.",
    ),
)

ROWS: tuple[Surface, ...] = (*_AGAIN, *_DRAW)
