"""Images without pinned memory: Model Runner V2 takes for granted that there is some."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType


def complete(module: ModuleType) -> None:
    """Have images batched in plain memory.

    Torch's CUDA build, as in the locks of vLLM 0.24 to 0.26, has none to pin without a driver.
    """
    batched: Any = module.group_and_batch_mm_kwargs

    def in_plain_memory(mm_kwargs: Any, **options: Any) -> Any:
        return batched(mm_kwargs, **{**options, "pin_memory": False})

    module.group_and_batch_mm_kwargs = in_plain_memory  # type: ignore[attr-defined]
