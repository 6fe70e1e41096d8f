"""Imports point inward, and what must be light is light."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HEAVY = ("torch", "vllm", "numpy", "transformers")
PURE = (
    "value_steer",
    "value_steer.versions",
    "value_steer.registry.explain",
    "value_steer.contracts",
    "value_steer.compat_check",
    "value_steer.cli",
    "value_steer.labels",  # the processes that compare answers import it
)


def _imports(root: Path, path: Path) -> set[str]:
    """Dotted names that a module imports, at whatever depth, relative imports resolved."""
    names = set()
    folders = path.relative_to(root).parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            near = folders[: len(folders) + 1 - node.level] if node.level else ()
            module = ".".join((*near, *([node.module] if node.module else [])))
            names |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("module", PURE)
def test_light_modules_import_nothing_heavy(module: str) -> None:
    """These modules work, and start fast, where neither torch nor vLLM is installed."""
    check = f"import sys, {module}; print(*(set(sys.modules) & {set(HEAVY)!r}))"

    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert done.stdout.split() == []


def test_training_needs_no_more_than_the_core_install() -> None:
    """The extra ``train`` is for backbones, caches and progress bars."""
    extra = {"transformers", "filelock", "rich", "value_steer.features"}
    check = f"import sys, value_steer.train_probe; print(*(set(sys.modules) & {extra!r}))"

    done = subprocess.run(
        [sys.executable, "-c", check], capture_output=True, text=True, check=True, cwd=ROOT
    )

    assert done.stdout.split() == []


LAYERS = (
    ("errors",),
    ("axes", "lanes"),
    ("checkout", "console", "git", "releases", "schema"),
    ("isolate",),
    ("cell",),
    ("registry",),
    ("report",),
    ("release",),
    ("commands",),
    ("cli",),
)
"""The packages and modules of ``compat``, from the innermost on; each imports of earlier ones."""

ENGINE = "value_steer/engine"
USERS = ("value_steer/demo/generate.py", "value_steer/cli/vllm_engine.py")
"""Scripts in processes of their own, which stand for a user's; nothing imports them."""

CAPTURE = "value_steer/features/worker.py"
"""Records what the engine's worker sees, so it is one."""


def sources(root: Path, package: str) -> dict[str, set[str]]:
    """What each module of a package imports, by its path in the checkout."""
    return {
        path.relative_to(root).as_posix(): _imports(root, path)
        for path in (root / package).rglob("*.py")
    }


def importers(root: Path, package: str, name: str) -> set[str]:
    """The modules of a package that import something of this name or below it."""
    return {
        path
        for path, names in sources(root, package).items()
        if any(found == name or found.startswith(f"{name}.") for found in names)
    }


def circle(root: Path, package: str) -> list[str]:
    """Modules of a package that need each other in turn, for types too; none if none do."""
    named = {
        ".".join(Path(path).with_suffix("").parts).removesuffix(".__init__"): names
        for path, names in sources(root, package).items()
    }
    inside = {module: names & named.keys() - {module} for module, names in named.items()}
    graph = {
        # Of ``from package import module`` only the module counts.
        module: {one for one in names if not any(other.startswith(f"{one}.") for other in names)}
        for module, names in inside.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [str(module) for module in error.args[1]]
    return []


def upward(root: Path) -> list[tuple[str, str]]:
    """Imports of ``compat`` that lead out of their layer, other than inward."""
    rank = {name: at for at, layer in enumerate(LAYERS) for name in layer}
    return [
        (path, name)
        for path, names in sources(root, "compat").items()
        if (own := path.split("/")[1].removesuffix(".py")) in rank
        for name in names
        if name.count(".")
        and name.split(".")[0] == "compat"
        and (other := name.split(".")[1]) in rank
        and other != own
        and rank[other] >= rank[own]
    ]


def test_the_machine_imports_inward() -> None:
    """Commands call the release's side, that the registry, that the run, that the isolation."""
    allowed = {("compat/checkout.py", "compat.git")}  # one layer, one task
    assert {(path, ".".join(name.split(".")[:2])) for path, name in upward(ROOT)} == allowed


@pytest.mark.parametrize(
    ("path", "line", "name"),
    [
        ("compat/isolate/image.py", "from compat.cell import verdict", "compat.cell.verdict"),
        ("compat/isolate/image.py", "from ..cell import verdict", "compat.cell.verdict"),
        ("compat/isolate/image.py", "from .. import cell", "compat.cell"),
        ("compat/console.py", "from compat.commands import run", "compat.commands.run"),
        ("compat/console.py", "import compat.commands.run", "compat.commands.run"),
    ],
)
def test_an_import_outward_is_seen(tmp_path: Path, path: str, line: str, name: str) -> None:
    """However it is written."""
    module = tmp_path / path
    module.parent.mkdir(parents=True)
    module.write_text(line, encoding="utf-8")

    assert (path, name) in upward(tmp_path)


@pytest.mark.parametrize("package", ["compat", "value_steer"])
def test_no_module_needs_one_that_needs_it(package: str) -> None:
    """Not even for its types, so each can be read with what it imports alone."""
    assert circle(ROOT, package) == []


@pytest.mark.parametrize(
    "back",
    ["from compat import a", "if TYPE_CHECKING:\n    from compat.a import A", "import compat.a"],
)
def test_a_circle_is_seen(tmp_path: Path, back: str) -> None:
    """However it is closed, and by whichever module of the way."""
    (tmp_path / "compat").mkdir()
    for name, text in {"__init__": "", "a": "from compat import b", "b": back}.items():
        (tmp_path / "compat" / f"{name}.py").write_text(text, encoding="utf-8")

    assert set(circle(tmp_path, "compat")) == {"compat.a", "compat.b"}


def test_every_part_of_the_machine_has_a_layer() -> None:
    """A new package has to find its place."""
    there = {path.stem for path in (ROOT / "compat").iterdir() if not path.name.startswith("__")}

    assert there - {"behaviour"} == {name for layer in LAYERS for name in layer}


def test_only_the_engine_imports_vllm() -> None:
    """No module outside engine/ names vLLM, not even for types, but those that stand for a user."""
    inside = {path for path in importers(ROOT, "value_steer", "vllm") if path.startswith(ENGINE)}

    assert inside
    assert importers(ROOT, "value_steer", "vllm") - inside == set(USERS)


@pytest.mark.parametrize("path", USERS)
def test_nothing_imports_what_stands_for_a_user(path: str) -> None:
    """They are loaded when they are wanted, so that the rest works where vLLM is not installed."""
    assert (ROOT / path).is_file()
    module = path.removesuffix(".py").replace("/", ".")

    assert importers(ROOT, "value_steer", module) == set()


def test_the_package_never_imports_the_machine() -> None:
    """Compat may import value_steer, never the reverse."""
    assert importers(ROOT, "value_steer", "compat") == set()
    assert importers(ROOT, "compat", "value_steer")


def test_inner_layers_do_not_import_the_engine() -> None:
    """Only the worker's name outside of engine/ leads into it, and the worker that captures."""
    outside = {
        path
        for path in importers(ROOT, "value_steer", "value_steer.engine")
        if not path.startswith(ENGINE)
    }

    assert outside == {"value_steer/worker.py", CAPTURE}
