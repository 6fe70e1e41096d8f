"""From the model's own labelled texts to a calibrated head, by the public functions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch.nn.utils.rnn import pad_sequence

from value_steer.calibration import CalibrationOptions, calibrate_file, write_training_prompts
from value_steer.calibration.curves import LEVELS
from value_steer.demo import grammar
from value_steer.train_probe import save_probe_checkpoint, train_probe
from value_steer.training.options import ABSTENTION
from value_steer.trajectories import Trajectory, TrajectoryHeader, write_trajectories
from value_steer.value_probe import Polarity, SettingsFingerprint, ValueHead, load_value_head

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from torch import Tensor
    from transformers import MistralForCausalLM

_RECIPE = replace(ABSTENTION, learning_rate=2e-3, epochs=8, warmup=0.1, decay="linear")
_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Texts:
    """Finished texts of the unsteered model.

    Attributes:
        prompts: Token ids.
        responses: Token ids, one response to each prompt.
    """

    prompts: list[list[int]]
    responses: list[list[int]]

    @property
    def labels(self) -> Tensor:
        """1 for a good response, ``[texts]``."""
        return torch.tensor([float(grammar.is_good(response)) for response in self.responses])

    @torch.no_grad()
    def hidden(self, model: MistralForCausalLM) -> tuple[Tensor, Tensor]:
        """The input of ``lm_head`` after each response token, and where there is one.

        Returns:
            Hidden states ``[texts, T, H]`` and a mask ``[texts, T]``.
        """
        begun = len(self.prompts[0])
        pairs = zip(self.prompts, self.responses, strict=True)
        padded = pad_sequence([torch.tensor(p + r) for p, r in pairs], batch_first=True)
        lengths = torch.tensor([len(response) for response in self.responses])
        states = model.model(padded).last_hidden_state[:, begun:]
        return states, torch.arange(states.shape[1]) < lengths[:, None]

    @torch.no_grad()
    def values(self, model: MistralForCausalLM, head: ValueHead) -> list[Tensor]:
        """The head's probability after each response token, ``[T]`` each."""
        states, mask = self.hidden(model)
        return [p[row] for p, row in zip(head.p(states), mask, strict=True)]


def fit_head(model: MistralForCausalLM, texts: Texts, seed: int, file: Path) -> None:
    """Train a head of P(good) on labelled texts, and write it."""
    torch.manual_seed(seed)
    head = ValueHead(model.config.hidden_size)
    train_probe(None, head, list(_batches(model, texts)), options=_RECIPE, progress=False)
    save_probe_checkpoint(file, head, scores=Polarity.P_GOOD, capture="prefill")
    write_training_prompts(file, map(grammar.text, texts.prompts))


def calibrate_head(
    model: MistralForCausalLM, texts: Texts, file: Path, alphas: tuple[float, ...]
) -> ValueHead:
    """Calibrate the head of a file on texts that it has not seen, and load it."""
    values = texts.values(model, load_value_head(file))
    kept = file.with_name("calibration.jsonl")
    settings = SettingsFingerprint(
        temperature=1.0, top_p=1.0, top_k=0, max_tokens=grammar.MAX_TOKENS, dtype="float32"
    )
    write_trajectories(
        kept,
        TrajectoryHeader(Polarity.P_GOOD, settings),
        (
            Trajectory(grammar.text(prompt), p_good.numpy(), label)
            for prompt, p_good, label in zip(
                texts.prompts, values, texts.labels.tolist(), strict=True
            )
        ),
    )
    calibrate_file(kept, file, CalibrationOptions(levels=sorted({*LEVELS, *alphas})))
    return load_value_head(file)


def _batches(model: MistralForCausalLM, texts: Texts) -> Iterator[dict[str, Tensor]]:
    for at in range(0, len(texts.prompts), _BATCH):
        part = Texts(texts.prompts[at : at + _BATCH], texts.responses[at : at + _BATCH])
        states, mask = part.hidden(model)
        yield {"hidden_states": states, "response_mask": mask, "labels": part.labels}
