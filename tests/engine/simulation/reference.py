"""Each request by itself: what it has to be given, whatever the schedule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from tests.engine.simulation import model
from tests.engine.simulation.traces import CLOSES, OPENS, STOP
from value_steer.config import AbstainAction, Fallback
from value_steer.engine.delivery.report import Ending
from value_steer.engine.filtering.draws import Redraw, probabilities, redraw
from value_steer.engine.forcing.scripts import Reasoning, Scripts
from value_steer.policy import Candidate, least_penalised, least_undesirable

if TYPE_CHECKING:
    from tests.engine.simulation.traces import Ask, Trace

WEIGHT = 0.5
"""Of the probability, for the fallback ``args``."""


@dataclass(slots=True)
class Answer:
    """What became of a request."""

    tokens: list[int] = field(default_factory=list)
    finish: str | None = None
    ending: Ending | None = None
    scores: list[tuple[int, float, int]] = field(default_factory=list)
    good: list[float] = field(default_factory=list)
    undesirable: list[float] = field(default_factory=list)
    interventions: int = 0
    no_acceptable: int = 0
    action: AbstainAction | None = None
    kept: int | None = None


class Reference:
    """Decodes one request of a trace."""

    def __init__(self, trace: Trace, ask: Ask, *, control: bool = False) -> None:
        self._trace, self._ask = trace, ask
        self._control = control
        self._streak = 0
        self._script: tuple[int, ...] | None = None
        self._start = 0
        self.answer = Answer()

    def decode(self) -> Answer:
        """To its end."""
        while self.answer.finish is None:
            sequence = (*self._ask.prompt, *self.answer.tokens)
            logits = model.state(self._trace.salt, sequence).logits
            mask = (
                model.allowed(self._trace.salt, self.answer.tokens) if self._ask.grammar else None
            )
            processed = model.masked(logits, mask)
            forced = self._forced(sequence, processed)
            if forced is None:
                self._give(*self._next(sequence, processed), processed)
            else:
                self._give(forced, self._undesirable(sequence, forced), processed)
        if self._filters and not self._ask.grammar and self.answer.action is None:
            # What judges the last token shows the state after it as well.
            self._judge((*self._ask.prompt, *self.answer.tokens))
        return self.answer

    def _give(self, token: int, value: float, processed: list[float]) -> None:
        self.answer.tokens.append(token)
        if self._ask.logprobs is not None:
            self.answer.scores.append(model.entry(processed, token))
        if self._filters:
            self.answer.undesirable.append(value)
        self.answer.finish = model.stops(self._ask, self._trace.longest, self.answer.tokens)

    @property
    def _filters(self) -> bool:
        return self._ask.steer

    def _undesirable(self, sequence: tuple[int, ...], token: int) -> float:
        return model.state(self._trace.salt, (*sequence, token)).undesirable

    def _forced(self, sequence: tuple[int, ...], processed: list[float]) -> int | None:
        """What abstention gives out in place of the sampled token; ``None``: nothing."""
        answer = self.answer
        if self._script is None:
            script = self._chosen(sequence)
            first = script[0] if script else STOP
            possible = not self._ask.grammar or processed[first] > -torch.inf
            if not (self._judge(sequence) and possible):
                return None
            answer.kept = len(answer.tokens)
            if not script:
                answer.action, answer.ending = AbstainAction.END, Ending.ABSTAINED
                return STOP
            answer.action = self._ask.action
            self._script, self._start = script, len(sequence)
        index = len(sequence) - self._start
        if index >= len(self._script):
            return None
        token = self._script[index]
        if answer.action is AbstainAction.MESSAGE and index == len(self._script) - 1:
            answer.ending = Ending.ABSTAINED
        return token

    def _chosen(self, sequence: tuple[int, ...]) -> tuple[int, ...]:
        """What a request says when it fires now, a stop token included; nothing: it ends."""
        trace, action = self._trace, self._ask.action
        opened = _last(sequence, OPENS) if trace.opens else 0
        closing = trace.closing if opened > _last(sequence, CLOSES) else ()
        if action is AbstainAction.MESSAGE and not self._ask.grammar:
            return (*closing, *trace.message, STOP)
        if action is not AbstainAction.END_THINKING:
            return ()
        return (CLOSES,) if closing and self._ask.grammar else closing

    def _judge(self, sequence: tuple[int, ...]) -> bool:
        """Whether it has been below the threshold for long enough."""
        trace, ask = self._trace, self._ask
        response = len(sequence) - len(ask.prompt)
        first = 0 if self._control else max(trace.first, ask.least)
        if trace.abstain is None or not ask.steer or response < first:
            return False
        good = model.state(trace.salt, sequence).good
        self.answer.good.append(good)
        below = good < trace.abstain / 16 and not self._control
        self._streak = self._streak + 1 if below else 0
        return self._streak >= trace.patience

    def _next(self, sequence: tuple[int, ...], processed: list[float]) -> tuple[int, float]:
        """The natural token, or the first acceptable candidate, or the fallback."""
        trace, ask = self._trace, self._ask
        natural = model.sampled(processed, ask.seed, len(sequence), greedy=ask.greedy)
        value = self._undesirable(sequence, natural)
        if not self._filters or self._control or value < trace.threshold / 16:
            return natural, value
        refused = [Candidate(natural, value)]
        source = model.Distributions(torch.tensor([processed]), [ask.seed], [len(sequence)])
        count = (ask.candidates or trace.candidates) - 1
        (more,) = redraw(source, [Redraw("", 0, count, ask.greedy)], lambda _: None)
        for token in [t for t in dict.fromkeys(more) if t != natural][:count]:
            value = self._undesirable(sequence, token)
            if value < trace.threshold / 16:
                self.answer.interventions += 1
                return token, value
            refused.append(Candidate(token, value))
        return self._fallback(sequence, processed, refused)

    def _fallback(
        self, sequence: tuple[int, ...], processed: list[float], refused: list[Candidate]
    ) -> tuple[int, float]:
        trace, ask = self._trace, self._ask
        self.answer.no_acceptable += 1
        endable = not ask.grammar and len(sequence) - len(ask.prompt) >= ask.least
        if trace.fallback is Fallback.ABSTAIN and endable:
            self.answer.action, self.answer.kept = AbstainAction.END, len(self.answer.tokens)
            self.answer.ending = Ending.NO_ACCEPTABLE
            return STOP, refused[-1].p_undesirable
        best = least_undesirable(refused)
        if trace.fallback is Fallback.NATURAL:
            best = refused[0]
        if trace.fallback is Fallback.ARGS:
            policy = probabilities(torch.tensor([processed]))[0]
            best = least_penalised(refused, policy[[c.token for c in refused]].tolist(), WEIGHT)
        self.answer.interventions += best.token != refused[0].token
        return best.token, best.p_undesirable


def _last(sequence: tuple[int, ...], token: int) -> int:
    return max((i for i, other in enumerate(sequence) if other == token), default=-1)


def scripts_of(trace: Trace) -> Scripts:
    """What the engine of a trace can say."""
    reasoning = Reasoning(OPENS if trace.opens else None, CLOSES, trace.closing)
    return Scripts(reasoning, trace.message)
