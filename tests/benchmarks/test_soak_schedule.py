"""What a soak asks follows from its seed."""

from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.soak.comparison import pair_of
from benchmarks.soak.schedule import CYCLE, PAIRS, arrival, catalogue, without_steering
from value_steer.errors import SettingsError
from value_steer.request_settings import parse_request

_TEMPLATES = catalogue(seed=7, templates=100)


def test_a_seed_gives_one_schedule() -> None:
    """Whatever was asked before: each request is its own."""
    late = arrival(7, 5_000, _TEMPLATES)

    assert catalogue(seed=7, templates=100) == _TEMPLATES
    assert [arrival(7, number, _TEMPLATES) for number in (1, 5_000)][1] == late
    assert catalogue(seed=8, templates=100) != _TEMPLATES
    arrivals = [[arrival(seed, n, _TEMPLATES) for n in range(50)] for seed in (7, 8)]
    assert arrivals[0] != arrivals[1]


def test_a_cycle_loads_as_the_others_do() -> None:
    """Parts of a run can be compared: hundreds of streams at a time, and few."""
    arrivals = [arrival(7, number, _TEMPLATES) for number in range(3 * CYCLE)]
    abreast = [one.abreast for one in arrivals]
    pairs = [one.pair for one in arrivals]

    assert abreast[:CYCLE] == abreast[CYCLE : 2 * CYCLE]
    assert pairs[CYCLE : 2 * CYCLE] == pairs[2 * CYCLE :]
    assert min(abreast) < 50
    assert max(abreast) > 200


def test_each_number_of_streams_meets_all_thresholds() -> None:
    """Else a cycle would be another one for what it is made of."""
    met: dict[int, set[int | None]] = {}
    pair: int | None = None
    for number in range(CYCLE, 2 * CYCLE):
        one = arrival(7, number, _TEMPLATES)
        pair = pair if one.pair is None else one.pair
        met.setdefault(one.abreast, set()).add(pair)

    assert len(met) == 4
    assert all(pairs == {*range(len(PAIRS))} for pairs in met.values())


def test_every_kind_is_asked() -> None:
    """And some clients hang up, some of them at once; those alone that read a stream."""
    arrivals = [arrival(7, number, _TEMPLATES) for number in range(3_000)]
    kinds = Counter(_TEMPLATES[one.template].kind for one in arrivals)
    hung_up = [one for one in arrivals if one.hang_up is not None]

    assert kinds.keys() == {template.kind for template in _TEMPLATES}
    assert len(kinds) == 8
    assert min(kinds.values()) > 50
    assert {one.hang_up for one in hung_up} == {0, 1, 2, 4, 8}
    assert all(_TEMPLATES[one.template].streams for one in hung_up)


def test_every_pair_of_thresholds_is_set_and_told_from_the_others() -> None:
    """Those of the beginning are set again later."""
    changes = [arrival(7, number, _TEMPLATES).pair for number in range(3_000)]

    assert {change for change in changes if change is not None} == {*range(len(PAIRS))}
    assert changes[0] is None
    for number, pair in enumerate(PAIRS):
        told = [None if value == "never" else value for value in pair.values()]
        assert pair_of({"threshold": told[0], "vfd_threshold": told[1]}) == number
    assert pair_of({"threshold": 0.123, "vfd_threshold": None}) is None


@pytest.mark.parametrize("template", _TEMPLATES, ids=lambda t: f"{t.number}-{t.kind}")
def test_only_wrong_settings_are_refused(template: object) -> None:
    """The others are what a caller may ask for, and each answer can be given again."""
    (found,) = [one for one in _TEMPLATES if one is template]
    settings = found.body["vllm_xargs"]

    if found.kind == "wrong" and settings.get("vfd_num_candidates") is None:
        with pytest.raises(SettingsError):
            parse_request(settings)
    elif found.kind != "wrong":
        parse_request(settings)
    own = {"abstain_threshold", "vfd_threshold", "steer"} & settings.keys()
    assert found.follows == (found.kind != "wrong" and not own)
    assert "seed" in found.body


def test_a_server_without_value_steer_is_asked_the_same() -> None:
    """But for the settings, which it does not know."""
    plain = without_steering(_TEMPLATES[0])

    assert "vllm_xargs" not in plain.body
    assert {**plain.body, "vllm_xargs": _TEMPLATES[0].body["vllm_xargs"]} == _TEMPLATES[0].body
