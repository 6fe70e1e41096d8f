"""Whether a disk holds the features that are still to be captured."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from value_steer.features.errors import FeatureCacheError

if TYPE_CHECKING:
    from value_steer.features.cache import FeatureCache

_GB = 10**9


def require_space(cache: FeatureCache, responses: int, tokens: int) -> None:
    """Make sure that the longest responses fit.

    Args:
        cache: Which will hold them.
        responses: How many are to come.
        tokens: Of a response at most.

    Raises:
        FeatureCacheError: They do not.
    """
    # A row for each token, and one for the end of the prompt.
    row = cache.spec.hidden_size * cache.spec.torch_dtype.itemsize
    needed = responses * (tokens + 1) * row
    free = shutil.disk_usage(cache.folder).free
    if needed > free:
        msg = (
            f"{cache.folder}: {responses} responses of {tokens} tokens are {needed / _GB:.1f} GB, "
            f"and {free / _GB:.1f} GB are free; make room, lower --max-tokens, --samples or "
            "--limit, or give --any-disk if most responses are shorter"
        )
        raise FeatureCacheError(msg)
