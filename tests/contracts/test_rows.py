"""The rows and the engine name the same things, in both directions."""

from __future__ import annotations

import ast
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import pytest

import value_steer.contracts
from tests.contracts.contract_miniature import MINIATURE
from value_steer.contracts.checker import check
from value_steer.contracts.needs import Assigns, Contains, DefinedBy, Fields, Implementable
from value_steer.contracts.rows import SURFACES
from value_steer.contracts.sources.tree import installed_tree
from value_steer.contracts.surface import Mode, Runner, Surface

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(value_steer.contracts.__file__).parents[1]
# The worker that captures is the engine's, with more to record.
ENGINE = [*sorted((PACKAGE / "engine").glob("**/*.py")), PACKAGE / "features" / "worker.py"]
HTTP = sorted((PACKAGE / "http").glob("*.py"))
HOST_OBJECTS = (
    *("runner", "self._runner", "worker.model_runner", "self.model_runner"),
    *("runner.input_batch", "self._runner.input_batch"),
)
V1_OBJECTS = (*HOST_OBJECTS, "sampler")
V2_OBJECTS = (
    *(*HOST_OBJECTS, "self._runner.req_states", "self._runner.sampler", "states", "sampler"),
    *("states.total_len", "states.num_computed_tokens", "self._sampler"),
    *("self._runner.sampler.penalties_state",),
    *("self._sampler.sampling_states", "self._sampler.sampling_states.seeds"),
)
# What the host hands over, by the names that it has there.
PASSED = {
    "engine/scheduling/late.py": ("request", "model_runner_output"),
    "engine/scheduling/reporting.py": ("request", "model_runner_output"),
    "engine/scheduling/stale.py": ("request", "step", "output"),
    "engine/scheduling/registration.py": (
        "config",
        "config.scheduler_config",
        "scheduling",
        "EngineArgs",
    ),
    "engine/delivery/outbox.py": ("output", "table"),
    "engine/delivery/lag.py": ("step", "cached", "new"),
    "engine/frontend.py": ("config", "params", "SamplingParams"),
    "engine/requests.py": ("step", "cached", "new", "params"),
    "engine/steps.py": ("step",),
    "engine/steering.py": ("step", "new"),
    "engine/abstain.py": ("output", "table"),
    "engine/assembly.py": ("config", "config.model_config", "config.parallel_config"),
    "features/worker.py": ("step", "new", "new.sampling_params"),
    "engine/host.py": ("vllm_config", "vllm_config.model_config", "vllm_config.parallel_config"),
}
# What the server hands over, and what is read of it.
SERVED = {
    "engines.py": ("client", "self._client", "self._core"),
    "middleware.py": ("application",),
}
# Of some releases only, and asked for before they are touched.
SOMETIMES = {"discard_latest_async_tokens", "num_stale_output_tokens", "drop_stale_output"}
SOMETIMES |= {"is_diffusion", "enable_batch_sharded_sampling", "aux_output_config", "enabled"}
# Of the model's own configuration, which is no part of vLLM.
SOMETIMES |= {"sliding_window"}
# Of named tuples and of torch's modules.
BUILT_IN = {"_replace", "register_forward_hook", "register_forward_pre_hook"}
BUILT_IN |= {"_linear_pointwise"}
# Of Starlette's applications.
BUILT_IN |= {"add_route", "state"}
# It touches the host's runner through the adapters in runners/ only.
ADAPTED = PACKAGE / "engine" / "filtering" / "value_filter.py"
# Set so that no fused kernel is used; harmless where vLLM has no such switch.
SWITCHES = {"use_flashinfer", "use_xpu_sampler"}
# Intercepted where it is there, from vLLM 0.20 on.
SWITCHES |= {"gather_specific_token_logprobs"}


def dotted_module(path: str) -> str:
    """The module that a file of vLLM is imported as."""
    parts = PurePosixPath(path).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_from_vllm(file: Path) -> Iterator[tuple[str, str]]:
    """The (module, name) pairs that a file takes from vLLM; the name is empty for a module."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (
                (alias.name, "") for alias in node.names if alias.name.split(".")[0] == "vllm"
            )
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "vllm":
            yield from ((node.module or "", alias.name) for alias in node.names)


def inherited(module: ast.Module) -> set[str]:
    """The attributes of ``self`` and ``super()`` that the classes of a file use and never set."""
    attributes = [node for node in ast.walk(module) if isinstance(node, ast.Attribute)]
    changed = [id(n.target) for n in ast.walk(module) if isinstance(n, ast.AugAssign)]
    own = {node.name for node in ast.walk(module) if isinstance(node, ast.FunctionDef)}
    own |= {a.attr for a in attributes if isinstance(a.ctx, ast.Store) and id(a) not in changed}
    on_self = {a.attr for a in attributes if ast.unparse(a.value) == "self"}
    return (on_self - own) | {a.attr for a in attributes if ast.unparse(a.value) == "super()"}


def touched(file: Path, objects: tuple[str, ...]) -> Iterator[str]:
    """The attributes of vLLM's own objects that a file reads or assigns."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in objects:
            yield node.attr


def asked_by_name(file: Path) -> Iterator[str]:
    """The attributes that a file asks for by a string, or replaces."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        called = node.func.id if isinstance(node, ast.Call) and hasattr(node.func, "id") else ""
        if isinstance(node, ast.Call) and called in {"getattr", "hasattr", "_wrap"}:
            name = node.args[1]
            if isinstance(name, ast.Constant):
                yield str(name.value)


def places(file: Path) -> Iterator[tuple[str, str]]:
    """The pairs of a module of vLLM and a name in it that a file has as text."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        texts = [str(e.value) for e in getattr(node, "elts", ()) if isinstance(e, ast.Constant)]
        if len(texts) == 2 and texts[0].startswith("vllm."):
            yield texts[0], texts[1]


def defined_in(file: Path) -> Iterator[str]:
    """The dotted names of the functions and methods of a file of this package."""
    module = ".".join(file.relative_to(PACKAGE.parent).with_suffix("").parts)
    body = ast.parse(file.read_text(encoding="utf-8")).body
    for prefix, node in [
        *((module, node) for node in body),
        *(
            (f"{module}.{c.name}", node)
            for c in body
            if isinstance(c, ast.ClassDef)
            for node in c.body
        ),
    ]:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}.{node.name}"


def test_the_engine_is_where_the_rows_say() -> None:
    """The tests below look at real files."""
    assert ENGINE


def test_every_name_that_the_engine_imports_has_a_row() -> None:
    """What the engine takes from vLLM is guarded by a contract."""
    modules = {dotted_module(surface.path) for surface in SURFACES}
    names = {(dotted_module(s.path), s.symbol.split(".")[0]) for s in SURFACES}
    unguarded = [
        f"{file.name}: {module} {name}".rstrip()
        for file in ENGINE
        for module, name in imported_from_vllm(file)
        if (module, name) not in names
        and f"{module}.{name}" not in modules
        and not (not name and module in modules)
    ]

    assert unguarded == []


def guarded(runner: Runner | None = None) -> set[str]:
    """The members of vLLM's classes that a row is about, on one model runner or any."""
    rows = [s for s in SURFACES if runner is None or runner in s.runners]
    needs = [s.need for s in rows]
    fields = {name for need in needs if isinstance(need, Assigns | Fields) for name in need.names}
    return fields | {s.symbol.rpartition(".")[2] for s in rows}


def test_every_name_that_the_engine_imports_by_a_string_has_a_row() -> None:
    """A class that is replaced is one that a row accepts as the member's own."""
    needs = [s.need for s in SURFACES if isinstance(s.need, DefinedBy)]
    known = {(dotted_module(path), name) for need in needs for path, name in need.owners}
    found = {place for file in ENGINE for place in places(file)}

    assert found == known


@pytest.mark.parametrize("file", [*ENGINE, *HTTP], ids=lambda file: file.stem)
def test_everything_that_is_asked_for_by_a_string_has_a_row(file: Path) -> None:
    """An attribute that is not there is a default, or an error at the first request."""
    codes = [code for s in SURFACES if isinstance(s.need, Contains) for code in s.need.code]
    stated = {name for name in asked_by_name(file) if any(f".{name} = " in c for c in codes)}
    free = guarded() | stated | SOMETIMES | BUILT_IN | SWITCHES

    assert [name for name in asked_by_name(file) if name not in free] == []


@pytest.mark.parametrize("path", SERVED)
def test_every_attribute_of_what_the_server_hands_over_has_a_row(path: str) -> None:
    """The engine's client and the application."""
    found = set(touched(PACKAGE / "http" / path, SERVED[path]))

    assert found
    assert sorted(found - guarded() - BUILT_IN) == []


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("worker.py", {"model_runner", "rank", "load_model"}),
        ("scheduling/late.py", {"max_model_len", "requests", "running", "_preempt_request"}),
        ("scheduling/reporting.py", {"vllm_config", "_update_request_with_output"}),
    ],
)
def test_everything_inherited_that_a_class_touches_has_a_row(path: str, known: set[str]) -> None:
    """What the worker and the schedulers use of themselves without having set it is vLLM's."""
    found = inherited(ast.parse((PACKAGE / "engine" / path).read_text(encoding="utf-8")))

    assert known <= found
    assert sorted(found - guarded() - {"__init__"}) == []


def test_every_attribute_of_the_hosts_objects_has_a_row() -> None:
    """What the engine reads of the model runner and its batch is guarded."""
    found = {name for file in ENGINE if file != ADAPTED for name in touched(file, HOST_OBJECTS)}

    assert {"input_batch", "req_ids", "requests", "get_model", "kv_cache_config"} <= found
    assert sorted(found - guarded()) == []


@pytest.mark.parametrize("path", PASSED)
def test_every_attribute_of_what_the_host_hands_over_has_a_row(path: str) -> None:
    """What is read of messages, outputs, requests and settings is guarded."""
    found = set(touched(PACKAGE / path, PASSED[path]))

    assert found
    assert sorted(found - guarded() - SOMETIMES - BUILT_IN) == []


def test_a_promise_defines_what_its_row_states() -> None:
    """A method that vLLM demands is demanded here before a promise cannot be made."""
    text = (PACKAGE / "engine" / "delivery" / "promise.py").read_text(encoding="utf-8")
    (promise,) = (node for node in ast.parse(text).body if isinstance(node, ast.ClassDef))
    defined = {n.name for n in promise.body if isinstance(n, ast.FunctionDef)} - {"__init__"}

    (need,) = (s.need for s in SURFACES if s.id == "async_output.abstract_methods")
    assert isinstance(need, Implementable)
    assert set(need.methods) == defined


@pytest.mark.parametrize(
    ("runner", "objects", "known"),
    [
        (Runner.V1, V1_OBJECTS, {"input_batch", "requests", "num_tokens_no_spec"}),
        (
            Runner.V2,
            V2_OBJECTS,
            {"req_states", "seeds", "np", "sample", "output_bin_counts"},
        ),
    ],
    ids=lambda value: value.value if isinstance(value, Runner) else None,
)
def test_what_an_adapter_touches_is_guarded_on_its_own_runner(
    runner: Runner, objects: tuple[str, ...], known: set[str]
) -> None:
    """A row of one model runner says nothing of the other."""
    file = PACKAGE / "engine" / "runners" / f"{runner.value}.py"
    found = set(touched(file, objects))

    assert known <= found
    assert sorted(found - guarded(runner) - SWITCHES - BUILT_IN) == []


@pytest.mark.parametrize("runner", Runner)
def test_rows_are_used_where_their_runner_is(runner: Runner) -> None:
    """What only one adapter needs is asked of no other model runner."""
    adapter = f"value_steer.engine.runners.{runner.value}."
    foreign = [s.id for s in SURFACES if s.used_by.startswith(adapter) and s.runners != {runner}]

    assert foreign == []


@pytest.mark.parametrize("runner", Runner)
def test_each_runner_has_rows_for_each_mode(runner: Runner) -> None:
    """A runner of which nothing is demanded would be called good."""
    assert {mode for s in SURFACES if runner in s.runners for mode in s.modes} == set(Mode)


def test_every_row_is_used_by_a_function_that_exists() -> None:
    """A row that nothing needs any more goes."""
    defined = {name for file in (*ENGINE, *HTTP) for name in defined_in(file)}
    orphaned = [f"{s.id}: {s.used_by}" for s in SURFACES if s.used_by not in defined]

    assert orphaned == []


def test_ids_are_unique() -> None:
    """A finding names one row."""
    ids = [surface.id for surface in SURFACES]

    assert sorted(set(ids)) == sorted(ids)


@pytest.mark.parametrize("surface", SURFACES, ids=lambda surface: surface.id)
def test_a_row_is_complete(surface: Surface) -> None:
    """A row names a file of vLLM, a mode, a runner, and its reason in one sentence."""
    assert surface.path.startswith("vllm/")
    assert surface.path.endswith(".py")
    assert surface.modes
    assert surface.runners
    assert surface.why.endswith(".")


@pytest.mark.skipif(find_spec("vllm") is None, reason="vLLM is not installed")
def test_the_installed_vllm_satisfies_every_row_in_time() -> None:
    """On the vLLM that is installed here all rows of V1 hold; the check takes under 2 seconds."""
    report = check(installed_tree(), Mode)
    broken = [f for f in report.broken if Runner.V1 in f.surface.runners]

    assert [(f.surface.id, f.status.value, f.detail) for f in broken] == []
    assert report.seconds < 2


@pytest.mark.parametrize(
    ("version", "asked"),
    [("0.25.1", 0), ("0.26.0", 2), ("0.28.1.dev3+g1", 2), ("0.29.0", 4), ("0.30.0+cpu", 4)],
)
def test_what_came_later_is_asked_of_later_releases(version: str, asked: int) -> None:
    """The endpoint plug-in, which vLLM has from 0.26 on."""
    later = {surface for surface in SURFACES if "endpoint_plugins" in surface.id}
    report = check(replace(MINIATURE, stated=version), tuple(Mode))

    assert len(later & {finding.surface for finding in report.findings}) == asked
    assert len(report.findings) == len(SURFACES) - len(later) + asked
    assert all(surface.is_asked_of(None) for surface in later)
