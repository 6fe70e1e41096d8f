"""The command that shows all that a machine with a GPU can show."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import pytest

from compat import cli
from compat.cell.gpu import Gpus
from compat.errors import ExitCode, InfraError
from compat.isolate import Choice, pip_settings
from compat.registry import fragments
from compat.releases import fitting
from compat.releases.candidates import load_candidates, select_release
from tests.compat.cells import FACTS, FakeIsolation, seeing
from value_steer.registry.rows import read_rows

if TYPE_CHECKING:
    from pathlib import Path

    from compat.cell.services import Services
    from compat.releases.candidates import Candidate

RELEASE = "0.28.0"
CUDA = {"vllm": RELEASE, "distribution": "vllm", "lane": "cuda-sm90", "driver": "580.65.06"}
MEASURED = json.dumps(
    {
        "results": [
            {
                "case": {"mode": mode, "objections": 0, "requests": 16},
                "ratio": 0.5,
                "wall": wall,
                "synchronous": {"ratio": 1.1, "wall": 1.2},
            }
            for mode, wall in (("abstain", 0.987), ("vfd", 0.912))
        ]
    }
)
VARIANTS = ("v2", "v2-eager", "v1", "v2-two-ranks")


@dataclass
class Machine:
    """The command line on a machine with some GPUs, where every cell runs on a fake isolation."""

    services: Services
    folder: Path

    def run(self, fake: FakeIsolation, *options: str, gpus: int = 1, **own: Any) -> int:
        """Call the command; its exit code."""
        given = {
            "device": lambda: "cuda-sm90" if gpus else "cpu",
            "gpus": lambda: Gpus(gpus, "580.65.06" if gpus else None),
            "choose": lambda *_, **__: Choice(fake, "the test says so"),
        }
        here = replace(self.services, **{**given, **own})
        registry = self.folder / "validated_versions.json"
        arguments = ["--registry", str(registry), "gpu", "--out", str(self.folder / "out")]
        return cli.main([*arguments, *options], here)

    @property
    def found(self) -> Path:
        """The folder that holds all that it found out."""
        return self.folder / "out" / "gpu" / RELEASE

    def summary(self) -> dict[str, Any]:
        """What it came to, the variants by name."""
        body: dict[str, Any] = json.loads((self.found / "summary.json").read_text("utf-8"))
        return {**body, "outcomes": {one["variant"]: one for one in body["outcomes"]}}


@pytest.fixture
def machine(services: Services, tmp_path: Path, registry: Path) -> Machine:
    """A machine whose registry nobody may touch."""
    assert registry.exists()
    return Machine(services, tmp_path)


def on_cuda(**fields: Any) -> FakeIsolation:
    """An isolation that has the CUDA build."""
    build = select_release(RELEASE, load_candidates()).build("cuda")
    facts = json.dumps({**FACTS, **CUDA})
    sha256 = build.wheels[0].sha256
    return FakeIsolation(facts=facts, wheel_sha256=sha256, measured=MEASURED, **fields)


def test_one_gpu_runs_what_one_can(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    """Three variants, each tested and measured; the one of two GPUs says why it is not there."""
    fake = on_cuda()
    before = (machine.folder / "validated_versions.json").read_bytes()

    assert machine.run(fake, "--vllm", "0.28") == ExitCode.PASSED

    assert fake.ran == ["preflight", "contracts", "behaviour", "bench"] * 3
    told = [{k: v for k, v in one.items() if k != "PYTHONPATH"} for one in fake.told[2::4]]
    common = {
        "VALUE_STEER_SUITE_GPUS": "1",
        "VALUE_STEER_SUITE_RANKS": "1",
        "VLLM_GPU_SYNC_CHECK": "warn",
    }
    graphs = {"VALUE_STEER_SUITE_GRAPHS": "1"}
    assert told == [
        {**common, **graphs, "VLLM_USE_V2_MODEL_RUNNER": "1"},
        {**common, "VLLM_USE_V2_MODEL_RUNNER": "1"},
        {**common, **graphs, "VLLM_USE_V2_MODEL_RUNNER": "0"},
    ]
    assert (machine.folder / "validated_versions.json").read_bytes() == before
    outcomes = machine.summary()["outcomes"]
    assert tuple(outcomes) == VARIANTS
    assert outcomes["v2-two-ranks"]["skipped"] == "one GPU"
    assert {mode["runner"] for mode in outcomes["v2"]["modes"]} == {"v2"}
    assert outcomes["v1"]["ratios"][1]["wall"] == 0.912
    printed = capsys.readouterr().out
    table = printed[printed.index("variant ") :].splitlines()
    assert [line.split() for line in table if line.startswith("V2, two")] == [
        ["V2,", "two", "ranks", "skipped:", "one", "GPU"]
    ]
    (eager,) = (line for line in table if line.startswith("V2, eager"))
    assert eager.split()[3:4] == ["passed"]
    assert eager.split()[-1] == "0.99"
    assert max(map(len, table[: 2 + 2 * 3])) <= 80


def test_what_is_recorded_is_what_vllm_does_by_default(machine: Machine) -> None:
    """A row does not say that engines ran eagerly, so those are a report alone."""
    machine.run(on_cuda(), "--vllm", "0.28")

    gathered = fragments.gather(machine.found)

    assert {(row.cell.lane, row.cell.runner) for row in gathered.rows} == {
        ("cuda-sm90", "v2"),
        ("cuda-sm90", "v1"),
    }
    assert gathered.problems == ()
    registry = machine.folder / "validated_versions.json"
    fragments.merge(registry, machine.found)
    assert set(gathered.rows) <= set(read_rows(registry))


def test_two_gpus_run_all(machine: Machine) -> None:
    """The last variant spreads each engine over both."""
    fake = on_cuda()

    assert machine.run(fake, "--vllm", "0.28", "--sync-check", "off", gpus=2) == ExitCode.PASSED

    assert [one["VALUE_STEER_SUITE_RANKS"] for one in fake.told[2::4]] == ["1", "1", "1", "2"]
    assert {one["VALUE_STEER_SUITE_GPUS"] for one in fake.told} == {"2"}
    assert not any("VLLM_GPU_SYNC_CHECK" in one for one in fake.told)


def test_tests_of_two_gpus_are_not_expected_of_one(machine: Machine) -> None:
    """Without them a cell can pass; nothing else is left out."""
    counts = {}
    for gpus in (1, 2):
        machine.run(on_cuda(), "--vllm", "0.28", gpus=gpus)
        listing = json.loads((machine.found / "v2" / "collected.json").read_text("utf-8"))
        counts[gpus] = {test["id"] for test in listing}

    assert counts[1] < counts[2]
    assert {name.partition("::")[2] for name in counts[2] - counts[1]} == {
        "test_tensor_parallel_ranks_agree",
        "test_tensor_parallel_ranks_agree_on_every_token",
        "test_two_engines_steer_as_one_does",
        "test_each_of_several_answers_says_what_became_of_it",
        "test_a_scheduler_that_takes_no_token_back_is_refused",
        "test_plain_vllm_schedules_as_the_lane_says[two-ranks]",
    }


def test_a_variant_that_fails_costs_itself_alone(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """The others run, what they found is kept, and the worst end is told to the shell."""
    fake = on_cuda()
    chosen = iter([replace(fake, prepare_error=InfraError("no space")), fake, fake])

    code = machine.run(
        fake,
        *("--vllm", "0.28"),
        choose=lambda *_, **__: Choice(next(chosen), "the test says so"),
    )

    outcomes = machine.summary()["outcomes"]
    assert code == ExitCode.INFRA
    assert outcomes["v2"]["problems"] == [{"text": "no space", "status": ExitCode.INFRA}]
    assert outcomes["v2"]["modes"] == []
    assert [mode["verdict"] for mode in outcomes["v1"]["modes"]] == ["passed", "passed"]
    assert not (machine.found / "v2" / "fragment.json").exists()
    assert "V2, graphs: no space" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("fake", "told"),
    [
        (on_cuda(returncodes={"bench": 1}), "the benchmark: exit status 1 after 1 s"),
        (on_cuda(timeouts=("bench",)), "the benchmark: no end after 1 s"),
        (replace(on_cuda(), measured="{"), "is no result of the benchmark"),
        (replace(on_cuda(), measured='{"results": [{}]}'), "is no result of the benchmark"),
    ],
    ids=["failed", "no end", "no JSON", "another shape"],
)
def test_a_benchmark_that_fails_costs_no_evidence(
    fake: FakeIsolation, told: str, machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the suite found is recorded; that something is missing is told."""
    assert machine.run(fake, "--vllm", "0.28") == ExitCode.NO_EVIDENCE

    outcome = machine.summary()["outcomes"]["v2"]
    assert told in outcome["problems"][0]["text"]
    assert [mode["verdict"] for mode in outcome["modes"]] == ["passed", "passed"]
    assert (machine.found / "v2" / "fragment.json").exists()
    assert "V2, graphs: " in capsys.readouterr().out


def test_a_failure_is_in_the_table_with_its_reason(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """And it is measured all the same: what is slow may tell why."""
    fake = on_cuda(failing=("eos_fires",))

    assert machine.run(fake, "--vllm", "0.28") == ExitCode.FAILED

    printed = capsys.readouterr().out
    assert "failed: behaviour" in printed
    assert "V2, graphs: 1 of " in printed
    assert fake.ran.count("bench") == 3


def test_another_runner_than_was_asked_for_is_told(machine: Machine) -> None:
    """Its rows are good ones, of the runner that was built."""
    assert machine.run(on_cuda(builds="v1"), "--vllm", "0.28") == ExitCode.NO_EVIDENCE

    (problem,) = machine.summary()["outcomes"]["v2"]["problems"]
    assert problem["text"] == "vLLM built model runner v1, which is what its rows say"


def test_the_newest_release_that_the_driver_runs_is_taken(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If none is named."""
    asked: list[tuple[object, ...]] = []

    def newest(_: object, here: fitting.Machine, wheels: Path | None) -> Candidate:
        asked.append((here.driver, here.lane, wheels))
        return select_release("0.28", load_candidates())

    monkeypatch.setattr(fitting, "newest", newest)

    assert machine.run(on_cuda()) == ExitCode.PASSED
    assert asked == [("580.65.06", "cuda-sm90", None)]


def test_a_dry_run_runs_the_same_on_a_cpu(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """With and without asynchronous scheduling; what needs a GPU says so."""
    lanes = [replace(seeing(lane=lane), measured=MEASURED) for lane in ("cpu-async", "cpu")]
    chosen = iter(lanes)

    code = machine.run(
        lanes[0],
        *("--dry-run", "--vllm", "0.28"),
        gpus=0,
        choose=lambda *_, **__: Choice(next(chosen), "the test says so"),
    )

    assert code == ExitCode.PASSED
    outcomes = machine.summary()["outcomes"]
    assert tuple(outcomes) == ("cpu-async", "cpu", *VARIANTS)
    assert {name: one["skipped"] for name, one in outcomes.items()} == {
        "cpu-async": None,
        "cpu": None,
        **dict.fromkeys(VARIANTS, "no GPU"),
    }
    assert [fake.ran for fake in lanes] == [["preflight", "contracts", "behaviour", "bench"]] * 2
    assert {row.cell.lane for row in fragments.gather(machine.found).rows} == {"cpu", "cpu-async"}
    assert "skipped: no GPU" in capsys.readouterr().out


def test_wheels_of_a_folder_are_all_that_pip_sees(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also below a path with a space in it."""
    for name in ("PIP_NO_INDEX", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, "")
    wheels = tmp_path / "my wheels"
    wheels.mkdir()
    for wheel in select_release("0.28", load_candidates()).build("cuda").wheels:
        (wheels / wheel.filename).touch()
    seen = []

    def lock(*_: Any) -> tuple[str, ...]:
        settings = pip_settings.read()
        seen.append((settings.values["no-index"], [*settings.local_folders().values()]))
        return ("vllm==0.28.0",)

    assert machine.run(on_cuda(), "--vllm", "0.28", "--wheels", str(wheels), lock=lock) == 0
    assert [(off, wheels in folders) for off, folders in seen] == [(("1",), True)] * 3


@pytest.mark.parametrize(
    ("options", "gpus", "told"),
    [
        ([], 0, "nvidia-smi shows no GPU here that CUDA may use; --dry-run --vllm 0.28 needs none"),
        (["--dry-run"], 0, "add --vllm, such as --vllm 0.28"),
        (["--vllm", "9.9"], 1, "vLLM 9.9 is not among the candidates"),
        (["--vllm", "0.28", "--wheels", "."], 1, "--wheels .: vLLM 0.28.0 is not in it, which wo"),
        (["--vllm", "0.28", "--wheels", "nowhere"], 1, "--wheels nowhere: "),
        # Which reason comes first depends on the Python that runs.
        (["--wheels", "."], 1, "no release fits this machine: "),
    ],
    ids=["no GPU", "no release", "unknown", "not in the folder", "no folder", "empty folder"],
)
def test_what_cannot_begin_says_so_in_one_line(
    options: list[str],
    gpus: int,
    told: str,
    machine: Machine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With status 2, before anything is made."""
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    fake = on_cuda()

    assert machine.run(fake, *options, gpus=gpus) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert fake.ran == []
