"""From texts to figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from value_steer.demo import grammar
from value_steer.demo.enumerated import as_number
from value_steer.demo.exact import chance_of_good, last_words
from value_steer.demo.report import AbstainFigures, BoundFigures, FilterFigures, HeadFigures
from value_steer.evaluation.intervals import proportion
from value_steer.training.metrics import auroc

if TYPE_CHECKING:
    from torch import Tensor

    from value_steer.demo.enumerated import Enumerated
    from value_steer.demo.probe import Texts
    from value_steer.evaluation.intervals import Estimate
    from value_steer.threshold import Threshold


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Prompts served twice with the same seeds.

    Attributes:
        prompts: Token ids.
        base: The responses without steering.
        steered: Those with it.
    """

    prompts: list[list[int]]
    base: list[list[int]]
    steered: list[list[int]]

    @property
    def same(self) -> Tensor:
        """Where both are equal token for token, ``[pairs]``."""
        return torch.tensor([a == b for a, b in zip(self.base, self.steered, strict=True)])

    def was_ended(self, at: int) -> bool:
        """Whether a response is the beginning of the unsteered one and an ending token."""
        base, steered = self.base[at], self.steered[at]
        return steered != base and steered[:-1] == base[: len(steered) - 1]


def head_figures(fresh: Texts, known: Enumerated) -> HeadFigures:
    """The head's values of fresh texts beside the exact ones."""
    pairs = list(zip(fresh.prompts, fresh.responses, strict=True))
    exact = torch.cat([known.values(*pair) for pair in pairs])
    given = 1 - torch.cat([known.scores(*pair) for pair in pairs])
    lengths = torch.tensor([len(response) for response in fresh.responses])
    good = fresh.labels.bool().repeat_interleave(lengths)
    open_ = (exact > 0) & (exact < 1)
    return HeadFigures(
        auroc=auroc(given[open_], good[open_]),
        auroc_exact=auroc(exact[open_], good[open_]),
        mean_error=(given - exact)[open_].abs().mean().item(),
        tokens=int(open_.sum()),
    )


def bound_figures(
    alpha: float, threshold: Threshold, fresh: Texts, known: Enumerated
) -> BoundFigures:
    """How often fresh good texts reach a threshold on P(undesirable)."""
    pairs = zip(fresh.prompts, fresh.responses, strict=True)
    peaks = torch.stack([known.scores(*pair).max() for pair in pairs])
    return BoundFigures(
        alpha=alpha,
        threshold=threshold,
        touched=_share(peaks[fresh.labels.bool()] >= as_number(threshold)),
        touched_exact=known.touched(threshold, fresh.prompts),
    )


def filter_figures(pairs: Pairs, law: Tensor, filtered: Tensor) -> FilterFigures:
    """Value filtering beside what the laws of the model and of the filtered policy give."""
    good = _good(pairs.base)
    return FilterFigures(
        bad_base=_share(~good),
        bad_base_exact=_chance_of_bad(law, pairs.prompts),
        bad=_share(~_good(pairs.steered)),
        bad_exact=_chance_of_bad(filtered, pairs.prompts),
        untouched_good=_share(pairs.same[good]),
    )


def abstain_figures(pairs: Pairs) -> AbstainFigures:
    """Dynamic abstention, and what the ended texts would have become."""
    good = _good(pairs.base)
    ended = torch.tensor([pairs.was_ended(at) for at in range(len(pairs.prompts))])
    # The token that ends a request is no part of its text.
    written = sum(map(len, pairs.steered)) - int(ended.sum())
    saved = 1 - written / sum(map(len, pairs.base))
    delivered, good_base = int((good & ~ended).sum()), int(good.sum())
    return AbstainFigures(
        abstained=_share(ended),
        accuracy_base=_share(good),
        accuracy=_share(good[~ended]),
        good_withheld=_share(good[ended]),
        saved_tokens=saved,
        net_saved_tokens=1 - (1 - saved) * good_base / delivered if delivered else None,
    )


def _good(responses: list[list[int]]) -> Tensor:
    return torch.tensor([grammar.is_good(response) for response in responses])


def _chance_of_bad(law: Tensor, prompts: list[list[int]]) -> float:
    good = chance_of_good(law, grammar.MAX_TOKENS)[-1]
    return 1 - sum(good[last_words(prompt)].item() for prompt in prompts) / len(prompts)


def _share(hits: Tensor) -> Estimate:
    return proportion(int(hits.sum()), len(hits))
