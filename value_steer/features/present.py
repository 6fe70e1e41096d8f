"""Which responses a cache holds already, and whether they answer the same prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from value_steer.features.engine import prompt_tokens
from value_steer.features.errors import CaptureError
from value_steer.records.differences import differences

if TYPE_CHECKING:
    from value_steer.features.cache import FeatureCache
    from value_steer.features.engine import Tokenizer
    from value_steer.features.records import Prompt, ResponseKey


class Present:
    """The responses that need not be sampled.

    An id says which prompt; that the prompt under it is still the same is checked here, so that
    no answer to an earlier version of a prompt passes for one to the present version.

    Args:
        cache: Where they are.
        tokenizer: Of the model.
        chat: Whether prompts go through its chat template.
    """

    def __init__(self, cache: FeatureCache, tokenizer: Tokenizer, *, chat: bool) -> None:
        self._folder = cache.folder
        self._tokenizer = tokenizer
        self._chat = chat
        self._stored = {one.key: one for shard in cache.shards for one in cache.responses(shard)}
        self._asked: set[ResponseKey] = set()

    def holds(self, key: ResponseKey, prompt: Prompt) -> bool:
        """Whether a response is there.

        Raises:
            CaptureError: It answers another prompt of the same id; the differences are named. Or
                the same one has been asked for before.
        """
        before = self._stored.get(key)
        if before is not None:
            old = {"prompt": before.prompt, "reference": before.reference}
            new = {"prompt": prompt.text, "reference": prompt.reference}
            if before.prompt_tokens and key.sample == 0:
                tokens = prompt_tokens(self._tokenizer, prompt, chat=self._chat)
                old |= {"prompt's tokens": str(before.prompt_tokens)}
                new |= {"prompt's tokens": str(tuple(tokens))}
            if different := differences(old, new):
                msg = (
                    f"{self._folder} has answers to another prompt of the id {prompt.id!r}: "
                    f"{'; '.join(different)}. Use another folder"
                )
                raise CaptureError(msg)
            return True
        if key in self._asked:
            msg = f"two prompts have the same id, {prompt.id!r}; ids must be unique in a data set"
            raise CaptureError(msg)
        self._asked.add(key)
        return False
