"""The value-steer-compat command, from its arguments to its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contracts.contract_miniature import MINIATURE
from tests.nonsense import command_line, ended_in_time, options, values
from value_steer import compat_check
from value_steer.contracts.rows import SURFACES
from value_steer.contracts.sources import index, pip_config
from value_steer.contracts.surface import Mode, Runner
from value_steer.errors import ContractError

ROOT = Path(compat_check.__file__).parents[1]


ABSTAIN = [surface for surface in SURFACES if Mode.ABSTAIN in surface.modes]


@pytest.fixture
def incomplete(tmp_path: Path) -> Path:
    """A vLLM with a version and nothing else."""
    folder = tmp_path / "vllm"
    folder.mkdir()
    (folder / "__init__.py").write_text("from ._version import __version__", encoding="utf-8")
    (folder / "_version.py").write_text("__version__ = '9.9.9'", encoding="utf-8")
    return tmp_path


def test_broken_contracts_are_listed_with_what_depends_on_them(
    incomplete: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each broken row is one line, a summary follows, and the exit code is 1."""
    code = compat_check.main(["abstain", "--source", str(incomplete)])
    lines = capsys.readouterr().out.splitlines()

    assert code == 1
    assert len(lines) == len(ABSTAIN)  # one row holds: the version; one line is the summary
    assert any(
        line.startswith("missing_file: runner.calls_sampler: vllm/v1/worker/gpu_model_runner.py")
        and line.endswith("[used by value_steer.engine.hooks.SteeredSampler.__call__]")
        for line in lines
    )
    counts = [sum(runner in surface.runners for surface in ABSTAIN) for runner in Runner]
    v1, v2 = (f"{count - 1} of {count} contracts do not hold" for count in counts)
    assert lines[-1].startswith(f"vLLM 9.9.9, abstain: v1: {v1}; v2: {v2}")


@pytest.mark.parametrize(
    ("arguments", "code", "runners"),
    [
        ([], 0, {"v1": True, "v2": False}),
        (["--runner", "v1"], 0, {"v1": True}),
        (["--runner", "v2"], 1, {"v2": False}),
    ],
)
def test_one_model_runner_is_enough_unless_one_is_named(
    arguments: list[str],
    code: int,
    runners: dict[str, bool],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A vLLM in which V2 is of another shape can be made to build V1."""
    for name, text in MINIATURE.files.items():
        if name.startswith("vllm/v1/worker/gpu/"):
            continue
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    assert compat_check.main(["--json", *arguments, "--source", str(tmp_path)]) == code
    report = json.loads(capsys.readouterr().out)
    assert report["runners"] == runners
    assert all(set(finding["runners"]) & set(runners) for finding in report["findings"])


def test_verbose_lists_the_good_rows_too(
    incomplete: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With -v nothing is left out."""
    compat_check.main(["-v", "--source", str(incomplete)])
    lines = capsys.readouterr().out.splitlines()

    assert len(lines) == len(SURFACES) + 1
    assert any(line.startswith("ok: vllm.version") for line in lines)


def test_json_carries_every_finding(incomplete: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report is one object that other programs can read."""
    code = compat_check.main(["all", "--json", "--source", str(incomplete)])
    report = json.loads(capsys.readouterr().out)

    assert code == 1
    assert report["version"] == "9.9.9"
    assert report["ok"] is False
    assert report["modes"] == ["abstain", "vfd"]
    assert {finding["id"] for finding in report["findings"]} == {s.id for s in SURFACES}
    assert report["findings"][1] == {
        "id": "platforms.current_platform",
        "status": "missing_file",
        "detail": "vllm/platforms/__init__.py is not in this tree",
        "path": "vllm/platforms/__init__.py",
        "symbol": "current_platform",
        "modes": ["abstain", "vfd"],
        "runners": ["v1", "v2"],
        "used_by": "value_steer.engine.host.worker_base",
        "why": "The platform decides which worker class value-steer derives from.",
    }


@pytest.mark.parametrize("json_flag", [[], ["--json"]])
def test_without_vllm_nothing_is_checked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], json_flag: list[str]
) -> None:
    """The exit code is 2, the reason is on stderr, and stdout holds no report."""
    code = compat_check.main([*json_flag, "--source", str(tmp_path)])
    streams = capsys.readouterr()

    assert code == 2
    assert streams.out == ""
    assert streams.err.startswith("value-steer-compat: no vLLM in ")


def test_wrong_arguments_are_not_a_verdict(capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelled mode exits with 2 and lists the modes."""
    with pytest.raises(SystemExit) as stopped:
        compat_check.main(["abstian"])

    assert stopped.value.code == 2
    assert "abstain" in capsys.readouterr().err


def test_the_command_loads_neither_torch_nor_vllm(incomplete: Path) -> None:
    """The check runs where vLLM could not even be imported."""
    program = (
        "import sys\n"
        "from value_steer.compat_check import main\n"
        f"code = main(['--json', '--source', {str(incomplete)!r}])\n"
        "assert code == 1, code\n"
        "assert not {'torch', 'vllm', 'numpy'} & set(sys.modules), 'imported'\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )

    assert done.returncode == 0, done.stderr


GOOD: tuple[dict[str, str], ...] = (
    {"mode": "all", "--source": "here"},
    {"--vllm": "0.28.0", "--architecture": "LlamaForCausalLM"},
    {"--since": "0.28.0"},
    {"--explain": "0.28.0"},
    {"--against": "here"},
)


@pytest.mark.parametrize("given", GOOD, ids=lambda given: list(given)[-1])
def test_nonsense_is_told_in_one_line(
    given: dict[str, str],
    incomplete: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With status 2; no option waits, raises, or prints a page."""

    def unreachable(*_: object) -> None:
        raise ContractError("no index")  # noqa: EM101  (stands for the real message)

    monkeypatch.setattr(index, "project_wheels", unreachable)
    monkeypatch.setattr(pip_config, "pip_settings", pip_config.IndexSettings)
    monkeypatch.chdir(incomplete)
    (incomplete / "here").symlink_to(".")
    (incomplete / "nonsense").mkdir()
    parser = compat_check._parser()
    wrong = []
    for action in options(parser):
        name = (action.option_strings or [action.dest])[-1]
        for kind, value in values(incomplete / "nonsense", ".tar.gz").items():
            if name not in given:
                continue
            with ended_in_time():
                try:
                    code = int(compat_check.main(command_line(parser, {**given, name: value})))
                except SystemExit as stopped:
                    assert isinstance(stopped.code, int)  # noqa: PT017
                    code = stopped.code
            lines = capsys.readouterr().err.splitlines()
            if (name, kind) == ("--explain", "huge"):
                continue  # a version like any other, of which nothing is known
            if code != 2 or len(lines) != 1 or len(lines[0]) > 1000:
                wrong.append((name, kind, code, lines[-3:]))
    assert not wrong, "\n".join(map(repr, wrong))
