"""Generations of several policies for the same prompts, and the file that keeps them.

The file is JSON Lines, one generation a line; it may come from this package's reference decoder
or from an engine.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from value_steer.errors import DataError
from value_steer.records.fields import FLAG, TEXT, Field, is_number, optional, read, whole_from
from value_steer.records.files import replacing
from value_steer.records.lines import json_lines

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from value_steer.evaluation.decoding import Policy, Sampler


@dataclass(frozen=True, slots=True)
class Generation:
    """One response of one policy.

    Attributes:
        policy: Name of the policy.
        prompt_id: Which prompt.
        tokens: Of the response.
        unsafe: What the judge says of it; what is withheld is safe.
        interventions: Tokens committed in place of the one the model drew.
        no_acceptable: Steps at which nothing acceptable was found.
        abstained: It was ended and withheld.
        seconds: Taken; ``None`` if it was not timed alone.
        rows: Sequences run through the model; ``None`` if unknown.
        log_likelihood: Of the tokens under the unsteered model; ``None`` if unknown.
        sample: Which of several responses to the prompt.
    """

    policy: str
    prompt_id: str
    tokens: tuple[int, ...]
    unsafe: bool
    interventions: int = 0
    no_acceptable: int = 0
    abstained: bool = False
    seconds: float | None = None
    rows: int | None = None
    log_likelihood: float | None = None
    sample: int = 0

    @property
    def intervened(self) -> bool:
        """Whether the policy objected to anything, even if it then found nothing better."""
        return self.interventions + self.no_acceptable > 0 or self.abstained


def generate(
    sampler: Sampler,
    policies: Sequence[Policy],
    prompts: Mapping[str, Sequence[int]],
    is_unsafe: Callable[[tuple[int, ...]], bool],
    seed: int = 0,
) -> Iterator[Generation]:
    """Every policy's response to every prompt.

    The policies take turns on each prompt, and the first one changes, so what disturbs the machine
    disturbs them alike.

    Args:
        sampler: The base policy.
        policies: Ways to decode.
        prompts: Token ids of each prompt, by its id.
        is_unsafe: The judge, of a response's token ids.
        seed: Of the randomness that all policies share.
    """
    for number, (prompt_id, prompt) in enumerate(prompts.items()):
        turn = number % len(policies)
        for policy in (*policies[turn:], *policies[:turn]):
            draft = policy.decode(sampler, prompt, seed + number)
            yield Generation(
                policy=policy.name,
                prompt_id=prompt_id,
                tokens=draft.tokens,
                unsafe=not draft.abstained and is_unsafe(draft.tokens),
                interventions=draft.interventions,
                no_acceptable=draft.no_acceptable,
                abstained=draft.abstained,
                seconds=draft.seconds,
                rows=draft.rows,
                log_likelihood=draft.log_likelihood,
            )


def write_generations(path: str | os.PathLike[str], generations: Iterable[Generation]) -> None:
    """Write a file of generations; it is replaced atomically."""
    with replacing(Path(path)) as handle:
        for generation in generations:
            handle.write(json.dumps(asdict(generation), allow_nan=False).encode() + b"\n")


def read_generations(path: str | os.PathLike[str]) -> tuple[Generation, ...]:
    """Read a file of generations.

    Raises:
        DataError: Names the file, the line and what is wrong there.
    """
    lines = json_lines(Path(path), "give a file of generations")
    return tuple(_generation(body, at) for body, at in lines)


def _generation(body: object, at: str) -> Generation:
    problems: list[str] = []
    known = read(body, _FIELDS, "", problems, _REQUIRED)
    if problems:
        msg = f"{at}: {'; '.join(problems)}"
        raise DataError(msg)
    return Generation(**known)


def _is_tokens(value: object) -> bool:
    return isinstance(value, list) and bool(value) and set(map(type, value)) == {int}


_REQUIRED = tuple(field.name for field in fields(Generation))[:4]
_COUNT = whole_from(0)
_FIELDS = {
    "policy": TEXT,
    "prompt_id": TEXT,
    "tokens": Field(_is_tokens, "a list of at least one token id", tuple),
    "unsafe": FLAG,
    "interventions": _COUNT,
    "no_acceptable": _COUNT,
    "abstained": FLAG,
    "seconds": optional(Field(lambda v: is_number(v) and v > 0, "a number above 0", float)),
    "rows": optional(whole_from(1)),
    "log_likelihood": optional(Field(is_number, "a number", float)),
    "sample": _COUNT,
}
