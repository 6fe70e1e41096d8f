"""What happens in one simulated run: the engine, its requests, and what happens to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from value_steer.config import AbstainAction, Fallback

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

VOCABULARY = 6
STOP = 1
OPENS, CLOSES = 2, 3


@dataclass(frozen=True, slots=True)
class Ask:
    """A request.

    Attributes:
        prompt: Its tokens.
        at: The step before which it comes.
        most: ``max_tokens``.
        least: ``min_tokens``.
        seed: Of its draws.
        steer: Whether it is steered.
        greedy: Whether it takes the most probable token.
        grammar: Whether a grammar constrains it.
        logprobs: Log-probabilities per token; ``None`` for none.
        aborted: The step before which its client gives up; ``None`` for never.
        candidates: Its own number of draws; ``None`` for the engine's.
        values: Whether it asks for the value of every token.
        action: What happens when abstention fires.
    """

    prompt: tuple[int, ...]
    at: int = 0
    most: int = 4
    least: int = 0
    seed: int = 0
    steer: bool = True
    greedy: bool = False
    grammar: bool = False
    logprobs: int | None = None
    aborted: int | None = None
    candidates: int | None = None
    values: bool = False
    action: AbstainAction = AbstainAction.END


@dataclass(frozen=True, slots=True)
class Trace:
    """A run.

    Attributes:
        asks: The requests.
        salt: Makes the model another one.
        runner: ``v1`` or ``v2``.
        depth: Steps in flight: 1 without asynchronous scheduling, 2 with it.
        stale: How the host knows outputs of the time before a preemption: ``latest`` (until vLLM
            0.21), ``discard`` (until 0.26), ``counted``.
        longest: ``max_model_len``.
        budget: Tokens per step.
        rows: ``max_num_seqs``.
        blocks: Of the cache, beyond what one sequence needs.
        threshold: P(undesirable) in sixteenths from which on a token is unacceptable.
        abstain: P(good) in sixteenths below which a request ends; ``None`` if none does.
        first: Response tokens before the first that abstention judges.
        patience: Of abstention.
        candidates: Draws per token.
        fallback: What is given out without an acceptable token.
        resets: Steps before which the prefix cache is reset, running requests included.
        eager: Whether an output is redeemed as soon as it is promised.
        opens: Whether a token opens a reasoning section; else every response begins inside one.
        closing: What is given out to close it.
        message: What is given out before a request ends, under the action ``message``.
        controls: Share of the requests that are judged and not acted on.
    """

    asks: tuple[Ask, ...]
    salt: int = 0
    runner: str = "v2"
    depth: int = 2
    stale: str = "counted"
    longest: int = 16
    budget: int = 16
    rows: int = 4
    blocks: int = 32
    threshold: int = 8
    abstain: int | None = None
    first: int = 1
    patience: int = 1
    candidates: int = 3
    fallback: Fallback = Fallback.ARGMIN
    resets: tuple[int, ...] = ()
    eager: bool = False
    opens: bool = True
    closing: tuple[int, ...] = (CLOSES,)
    message: tuple[int, ...] = (4,)
    controls: float = 0.0


def drawn(r: random.Random) -> Trace:
    """A small run in which much can meet."""
    longest = r.randint(4, 12)
    count = r.choice((1, 1, 2, 2, 3))
    patience = r.choice((1, 1, 2))
    resets = (r.randrange(1, 9),) if r.random() < 0.15 else ()
    return Trace(
        asks=tuple(_ask(r, longest) for _ in range(count)),
        salt=r.randrange(1 << 16),
        runner=r.choice(("v1", "v2")),
        depth=r.choice((1, 2, 2)),
        stale=r.choice(("counted", "counted", "discard", "latest")),
        longest=longest,
        budget=r.choice((2, 3, 4, 16)),
        rows=r.choice((1, 2, 4, 4)),
        blocks=r.choice((0, 1, 2, 20)),
        threshold=r.choice((4, 8, 12, 16)),
        abstain=r.choice((None, None, 2, 4, 8)),
        first=r.randrange(3),
        patience=patience,
        candidates=r.randint(1, 4),
        fallback=r.choice(tuple(Fallback)),
        resets=resets,
        eager=r.random() < 0.5,
        opens=r.random() < 0.5,
        closing=r.choice(((CLOSES,), (0, CLOSES), (5, CLOSES, 4))),
        message=r.choice(((4,), (5, 0))),
        controls=r.choice((*[0.0] * 5, 0.5, 1.0)),
    )


def _ask(r: random.Random, longest: int) -> Ask:
    size, most = r.randint(1, min(5, longest - 1)), r.randint(1, 6)
    # The host never ends a request that is full before it has its least.
    least = min(r.choice((0, 0, 0, 2)), most, longest - size)
    return Ask(
        prompt=tuple(r.randrange(VOCABULARY) for _ in range(size)),
        at=r.choice((0, 0, 1, 3)),
        most=most,
        least=least,
        seed=r.randrange(1 << 16),
        steer=r.random() < 0.85,
        greedy=r.random() < 0.2,
        grammar=r.random() < 0.15,
        logprobs=r.choice((None, None, 0, 2)),
        aborted=r.randrange(1, 9) if r.random() < 0.1 else None,
        candidates=r.choice((None, None, 1, 4)),
        values=r.random() < 0.5,
        action=r.choice((*[AbstainAction.END] * 2, *AbstainAction)),
    )


def simpler(trace: Trace) -> Iterator[Trace]:
    """Runs in which less happens."""
    asks = trace.asks
    for i in range(len(asks)):
        if len(asks) > 1:
            yield replace(trace, asks=asks[:i] + asks[i + 1 :])
    plain = Trace(())
    for name in ("resets", "abstain", "blocks", "rows", "budget", "longest", "depth", "runner"):
        yield replace(trace, **{name: getattr(plain, name)})
    for name in ("opens", "closing", "message", "controls"):
        yield replace(trace, **{name: getattr(plain, name)})
    for name in ("stale", "eager", "patience", "first", "candidates", "fallback"):
        yield replace(trace, **{name: getattr(plain, name)})
    for i, ask in enumerate(asks):
        for change in _simpler_asks(ask):
            yield replace(trace, asks=(*asks[:i], change, *asks[i + 1 :]))


def _simpler_asks(ask: Ask) -> Iterator[Ask]:
    plain = Ask(())
    for name in ("at", "least", "greedy", "grammar", "logprobs", "aborted", "candidates", "action"):
        yield replace(ask, **{name: getattr(plain, name)})
    yield replace(ask, steer=True, values=False)
    if len(ask.prompt) > 1:
        yield replace(ask, prompt=ask.prompt[:1])
    if ask.most > max(ask.least, 1):
        yield replace(ask, most=ask.most - 1)
