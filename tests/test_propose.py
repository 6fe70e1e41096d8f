"""The script that proposes a change with a write token: what it pushes, and what it refuses."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.workflows import GITHUB

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SCRIPT = GITHUB / "actions" / "propose" / "propose.sh"
GIT = shutil.which("git") or "git"
BASH = shutil.which("bash") or "bash"
REGISTRY = "validated_versions.json"
ALLOWED = r"validated_versions\.json|badges/[a-z0-9.-]+\.json"


class Repository:
    """A clone with a remote, a proposal to make, and a ``gh`` that writes down how it is called."""

    def __init__(self, folder: Path) -> None:
        self.clone = folder / "clone"
        self.proposal = folder / "proposal"
        self.calls = folder / "gh.log"
        self._programs = folder / "bin"
        self._home = folder / "home"
        for made in (self.proposal, self._programs, self._home, self.clone):
            made.mkdir()
        gh = self._programs / "gh"
        gh.write_text(f'#!{BASH}\necho "$*" >>"{self.calls}"\n[ "$1" != pr ] || cat\n')
        gh.chmod(0o755)
        self.git("init", "--quiet", "--bare", "../remote")
        self.git("init", "--quiet", "--initial-branch=main")
        self.git("remote", "add", "origin", str(folder / "remote"))
        for name in (REGISTRY, "propose.sh"):
            (self.clone / name).write_text("old\n")
        self.git("add", ".")
        self.git("-c", "user.name=a", "-c", "user.email=a@example.org", "commit", "-qm", "first")

    def git(self, *arguments: str) -> str:
        """Output of git in the clone, without the settings of whoever runs the tests."""
        command = [GIT, *arguments]
        return subprocess.check_output(command, cwd=self.clone, env=self._environment, text=True)

    def offer_registry(self) -> None:
        """Make the patch that writes a new registry."""
        (self.clone / REGISTRY).write_text("new\n")
        self.take_patch()

    def take_patch(self) -> None:
        """Make the patch of what differs, and put everything back."""
        self.git("add", "--all")
        patch = self.git("diff", "--cached", "--binary")
        self.git("reset", "--quiet", "--hard")
        (self.proposal / "change.patch").write_text(patch)
        (self.proposal / "body.md").write_text("why\n")

    def propose(self) -> subprocess.CompletedProcess[str]:
        """Run the script as the action does."""
        return subprocess.run(
            [BASH, str(SCRIPT), str(self.proposal)],
            cwd=self.clone,
            env={**self._environment, "ALLOWED": ALLOWED, "BRANCH": "compat/x", "TITLE": "New"},
            capture_output=True,
            text=True,
            check=False,
        )

    @property
    def branches(self) -> list[str]:
        """What has been pushed."""
        return [line.split()[1] for line in self.git("ls-remote", "--heads", "origin").splitlines()]

    @property
    def _environment(self) -> dict[str, str]:
        path = f"{self._programs}{os.pathsep}{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self._home), "GIT_CONFIG_NOSYSTEM": "1"}


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """A repository of its own for each test."""
    return Repository(tmp_path)


def test_a_change_of_an_allowed_file_becomes_a_pull_request(repository: Repository) -> None:
    """One commit on a branch named for its content, a pull request, and its checks started."""
    repository.offer_registry()

    done = repository.propose()

    assert done.returncode == 0, done.stderr
    (branch,) = repository.branches
    assert branch.startswith("refs/heads/compat/x-")
    pushed = repository.git("show", f"HEAD:{REGISTRY}")
    assert pushed == "new\n"
    calls = repository.calls.read_text().splitlines()
    assert [call.split()[:2] for call in calls] == [
        ["auth", "setup-git"],
        ["pr", "create"],
        ["workflow", "run"],
    ]


def test_the_same_change_is_proposed_once(repository: Repository) -> None:
    """A schedule that finds the same again opens nothing and overwrites nothing."""
    repository.offer_registry()
    repository.propose()
    before = repository.branches
    repository.git("reset", "--quiet", "--hard", "HEAD~1")

    done = repository.propose()

    assert "already proposed" in done.stdout
    assert repository.branches == before
    assert repository.calls.read_text().count("pr create") == 1


def test_no_change_is_no_proposal(repository: Repository) -> None:
    """An empty patch says that nothing is new."""
    repository.take_patch()

    done = repository.propose()

    assert (done.returncode, repository.branches) == (0, [])
    assert not repository.calls.exists()


def _another_file(clone: Path) -> None:
    (clone / "propose.sh").write_text("run me\n")


def _executable(clone: Path) -> None:
    (clone / REGISTRY).chmod(0o755)


def _link(clone: Path) -> None:
    (clone / REGISTRY).unlink()
    (clone / REGISTRY).symlink_to("/etc/passwd")


def _deletion(clone: Path) -> None:
    (clone / REGISTRY).unlink()


def _below_a_folder_of_that_name(clone: Path) -> None:
    (clone / "x").mkdir()
    (clone / "x" / REGISTRY).write_text("new\n")


def _oversized(clone: Path) -> None:
    (clone / REGISTRY).write_text("x" * 3_000_000)


@pytest.mark.parametrize(
    "change",
    [
        _another_file,
        _executable,
        _link,
        _deletion,
        _below_a_folder_of_that_name,
        _oversized,
    ],
)
def test_any_other_change_is_refused(
    repository: Repository, change: Callable[[Path], None]
) -> None:
    """Nothing is pushed, and no file of the checkout is touched."""
    change(repository.clone)
    repository.take_patch()

    done = repository.propose()

    assert done.returncode == 1
    assert "refused" in done.stderr
    assert repository.branches == []
    assert (repository.clone / "propose.sh").read_text() == "old\n"


def test_a_patch_that_leaves_the_repository_is_refused(repository: Repository) -> None:
    """Git itself does not follow a path upwards."""
    patch = "--- a/../x\n+++ b/../x\n@@ -0,0 +1 @@\n+new\n"
    (repository.proposal / "change.patch").write_text(patch)
    (repository.proposal / "body.md").write_text("why\n")

    done = repository.propose()

    assert done.returncode != 0
    assert repository.branches == []
