"""From the registry to rows and answers."""

from __future__ import annotations

from itertools import product

from compat.axes import RUNNERS
from compat.releases.upstream import Upstream
from compat.report import view
from compat.report.devices import DEVICES
from compat.report.model import Contracts, State
from tests.compat.report.sources import OTHER, candidate, checked, large, ran, sources, with_code
from tests.compat.samples import HASH
from value_steer.registry.model import Cause, Verdict

BOTH = ("cpu", "cuda")
THREE = tuple(candidate(v, *BOTH) for v in ("0.30.0", "0.31.0", "0.32.0"))


def told(of: view.Sources, vllm: str, device: str, runner: str) -> str:
    """The sentence for a reader."""
    (found,) = (
        a for a in view.answers(of) if (a.vllm, a.device, a.runner) == (vllm, device, runner)
    )
    return found.sentence.text


def test_a_row_per_minor_for_its_newest_release() -> None:
    """Newest first; versions are compared as such."""
    names = ("0.9.2", "0.28.0", "0.28.1", "0.28.0.post1", "0.100.0")
    minors = view.minors(sources(candidates=tuple(candidate(name, *BOTH) for name in names)))

    assert [minor.series for minor in minors] == ["0.100", "0.28", "0.9"]
    assert [release.vllm for release in minors[1].releases] == ["0.28.1", "0.28.0.post1", "0.28.0"]


def test_a_release_that_left_the_index_keeps_its_row() -> None:
    """With the evidence that it has."""
    minors = view.minors(sources(ran("0.18.0")))

    assert [minor.series for minor in minors] == ["0.33", "0.32", "0.18"]
    assert minors[-1].head.cells[0].state is State.VALIDATED


def test_what_moved_is_told_since_the_last_release_that_passed() -> None:
    """Of each release between, torch among it; not known is not nothing."""
    bad = ran("0.31.0", verdict=Verdict.FAILED, cause=Cause.BOOT)
    of = sources(
        [*ran("0.30.0"), *bad],
        candidates=(*THREE[:2], candidate("0.32.0", *BOTH, torch="2.14.0")),
        upstream=(
            Upstream("0.30.0", None, "v1", ("x",)),
            Upstream("0.32.0", None, "v2", ("a → b",)),
        ),
    )
    newest, middle, oldest = (minor.head for minor in view.minors(of))

    assert newest.last_good == middle.last_good == "0.30.0"
    assert [(moved.vllm, moved.lines) for moved in newest.moved] == [
        ("0.31.0", None),
        ("0.32.0", ("torch 2.13.0 → 2.14.0", "a → b")),
    ]
    assert (oldest.last_good, [moved.vllm for moved in oldest.moved]) == (None, ["0.30.0"])


def test_half_a_pass_is_no_good_release() -> None:
    """Every mode has to have passed."""
    of = sources(ran("0.31.0")[:1], candidates=THREE)

    assert view.minors(of)[0].head.last_good is None


def test_hours_to_the_first_verdict_are_known_or_not() -> None:
    """The first one, of the history as well; what decided nothing is no verdict."""
    void = ran("0.32.0", verdict=Verdict.TIMEOUT, recorded_at="2020-05-02T07:08:09Z")
    early = ran("0.32.0", recorded_at="2020-05-03T07:08:09Z")

    def hours(**changes: object) -> float | None:
        return view.minors(sources(ran("0.32.0"), **changes))[1].head.hours

    assert hours() == 120
    assert hours(history=(*void, *early)) == 48
    assert hours(upstream=(Upstream("0.32.0", None, "v2", ()),)) is None
    assert hours(upstream=()) is None
    assert view.minors(sources())[1].head.hours is None


def test_contracts_are_told_by_runner() -> None:
    """Briefly where all say the same."""
    static = (*checked("0.32.0", "a.b"), *checked("0.32.0", runner="v1"))
    head = view.minors(sources(static=static))[1].head

    assert head.contracts == {"v1": Contracts.HOLD, "v2": Contracts.BROKEN}
    assert head.summary == "V1 contracts hold, V2 contracts broken"
    assert view.minors(sources())[1].head.summary == "contracts not checked"


def test_there_is_an_answer_for_every_reader() -> None:
    """Each release on each device with each runner, or the default one."""
    of = large()
    places = [(a.vllm, a.device, a.runner) for a in view.answers(of)]

    everyone = product((k.vllm for k in of.known), DEVICES, ("default", *RUNNERS))
    assert places == [(vllm, device.id, runner) for vllm, device, runner in everyone]


def test_a_pass_on_one_gpu_is_none_on_another() -> None:
    """The sentence is about the very lane."""
    of = sources(ran("0.32.0", "cuda-sm80", "v2"))

    assert "an A100 with V2: validated on 2020-05-06" in told(of, "0.32.0", "a100", "v2")
    other = told(of, "0.32.0", "h200", "v2")
    assert "never run on that GPU, though it passed on another GPU with V2" in other


def test_the_default_runner_is_resolved() -> None:
    """A CPU build makes V1; a GPU build what its rule says, or whichever the model asks for."""
    rules = (Upstream("0.31.0", None, "v2 for listed architectures", ()),)
    of = sources(candidates=THREE, upstream=(*rules, Upstream("0.32.0", None, "v2", ())))

    assert " on a CPU with its default runner, V1: " in told(of, "0.32.0", "cpu", "default")
    assert " on an H200 with its default runner, V2: " in told(of, "0.32.0", "h200", "default")
    assert "whichever runner it builds" in told(of, "0.31.0", "h200", "default")
    assert "whichever runner it builds" in told(of, "0.30.0", "h200", "default")


def test_a_failure_names_the_newest_release_that_passed_on_that_lane() -> None:
    """Not one that passed elsewhere."""
    bad = ran("0.32.0", verdict=Verdict.FAILED, cause=Cause.BOOT)
    of = sources([*ran("0.30.0"), *bad, *ran("0.31.0", "cpu-interpreted", "v2")], candidates=THREE)

    assert told(of, "0.32.0", "cpu", "v1").endswith("use 0.30.0, the newest that passed there.")


def test_the_newest_engine_is_that_of_the_newest_row() -> None:
    """What a committed table compares with, since it cannot know the code of a reader."""
    old = with_code(OTHER, ran("0.31.0", recorded_at="2020-01-01T00:00:00Z"))

    assert view.newest_engine([*old, *ran("0.32.0")]) == HASH
    assert view.newest_engine([]) == ""


def test_what_cannot_run_is_no_advice() -> None:
    """A CPU has no lane for V2 of a release from before the policy plans it."""
    of = sources(candidates=(candidate("0.22.0", *BOTH), *THREE))

    assert told(of, "0.22.0", "cpu", "v2").endswith("; the matrix has no lane for it.")
    assert told(of, "0.30.0", "cpu", "v2").endswith("; run this command to find out.")
