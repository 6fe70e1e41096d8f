"""The snippets of the page on features and labels run, one after the other."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tests.features.fake_engine import FakeEngine, Sampling

if TYPE_CHECKING:
    import pytest

PAGE = Path(__file__).parents[2] / "docs" / "features-and-labels.md"


def test_the_snippets_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an empty folder, without network; vLLM is the stand-in of these tests."""
    monkeypatch.chdir(tmp_path)
    vllm = ModuleType("vllm")
    vars(vllm).update(LLM=lambda **_: FakeEngine(), SamplingParams=Sampling)
    monkeypatch.setitem(sys.modules, "vllm", vllm)
    snippets = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    names: dict[str, Any] = {"__name__": "page"}

    for snippet in snippets:
        exec(compile(snippet, str(PAGE), "exec"), names)  # noqa: S102  (our own page)

    assert len(snippets) == 5
