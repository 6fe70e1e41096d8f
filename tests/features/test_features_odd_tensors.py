"""Tensors that are no plain numbers, and numbers that no float holds, are our errors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from tests.features.samples import HIDDEN, features
from value_steer.calibration import AbstentionRule, rate_threshold
from value_steer.errors import CalibrationError, DataError
from value_steer.features import CacheSpec, FeatureCache
from value_steer.features.errors import FeatureCacheError
from value_steer.trajectories import Trajectory

if TYPE_CHECKING:
    from pathlib import Path

ODD: dict[str, Any] = {
    "nested": torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged),
    "complex": torch.ones(2, dtype=torch.complex64),
    "conjugate": torch.ones(2, dtype=torch.complex64).conj(),
    "sparse": torch.ones(2).to_sparse(),
    "meta": torch.ones(2, device="meta"),
    "a list of text": ["a"],
    "a list of lists": [[1], [1, 2]],
    "an integer of 310 digits": [10**310],
    "an integer of 5000 digits": [10**5000],
    "an object": object(),
    "a generator": (x for x in [1]),
    "dates": np.array(["2020-01-01"], "datetime64[D]"),
}


@pytest.mark.parametrize("values", ODD.values(), ids=ODD)
def test_values_that_are_no_numbers(values: Any) -> None:
    """Of a trajectory, and of a calibration."""
    with pytest.raises(DataError, match="values must be"):
        Trajectory("a", values, 1.0)
    with pytest.raises(CalibrationError, match="must be"):
        rate_threshold([values], 0.5, AbstentionRule())


@pytest.mark.parametrize(
    "values", [torch.ones(2, requires_grad=True), torch._neg_view(torch.ones(2))]
)
def test_values_that_numpy_cannot_share(values: Any) -> None:
    """What torch says is kept: it names what to call first."""
    with pytest.raises(DataError, match=r"values must be .*tensor"):
        Trajectory("a", values, 1.0)


NUMBERS = {"310": 10**310, "5000": 10**5000, "-": -(10**310), "nan": float("nan"), "text": "1"}


@pytest.mark.parametrize("number", [*NUMBERS.values(), True, 1j], ids=[*NUMBERS, "bool", "j"])
def test_a_number_that_is_no_probability(number: Any) -> None:
    """However long it is; Python refuses to print the longest."""
    with pytest.raises(DataError, match="must be numbers from 0 to 1"):
        Trajectory("a", np.array([0.5], np.float32), number)
    with pytest.raises(DataError, match="must be numbers from 0 to 1"):
        Trajectory("a", np.array([0.5], np.float32), 1.0, number)
    with pytest.raises(CalibrationError, match="must be a number from 0 to 1"):
        rate_threshold([[0.5]], number, AbstentionRule())


@pytest.mark.parametrize("field", ["tokens", "hidden", "prior"])
@pytest.mark.parametrize("value", [*ODD.values(), torch.tensor(0.5)], ids=[*ODD, "a number"])
def test_features_that_are_no_plain_tensors(field: str, value: Any) -> None:
    """Nothing else is taken into a cache."""
    with pytest.raises(FeatureCacheError, match=r"no plain tensor|have the shapes"):
        replace(features("a"), **{field: value})


@pytest.mark.parametrize("token", [-1, 1 << 31, 1 << 40])
def test_a_token_id_that_would_be_stored_as_another(token: int, tmp_path: Path) -> None:
    """Ids are stored in 32 bits; one beyond would come back as another."""
    cache = FeatureCache.create(tmp_path, CacheSpec(HIDDEN))

    with pytest.raises(FeatureCacheError, match="token id"):
        cache.add([replace(features("a"), tokens=torch.tensor([1, token, 2]))])
    cache.add([replace(features("a"), tokens=torch.tensor([1, (1 << 31) - 1, 2]))])
    assert [one.tokens.tolist() for one in FeatureCache.open(tmp_path)] == [[1, (1 << 31) - 1, 2]]
