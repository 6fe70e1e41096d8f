"""The gate in front of every build: no release leaves a checkout that its registry does not back.

A development version is built and told what it lacks. A source distribution has passed the gate
when it was made and holds no machine to pass it again, so a wheel of it is built as it stands.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterator

GATE_NEEDS = ["filelock>=3.16", "jsonschema>=4.23", "pyyaml>=6.0"]


class ReleaseGate(BuildHookInterface[Any]):
    """Asks ``compat.release.gate`` before hatchling writes anything."""

    _scratch: tempfile.TemporaryDirectory[str] | None = None

    def dependencies(self) -> list[str]:
        """What the gate needs where there is one."""
        return GATE_NEEDS if self._has_machine else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Refuse a release with obstacles; warn about those of a development version.

        A wheel is given the digest of its engine, which every worker would compute as it starts.
        """
        if version == "editable":
            return
        self._pass_gate()
        if self.target_name == "wheel":
            self._add_digest(build_data)

    def _pass_gate(self) -> None:
        if not self._has_machine:
            self._require_source_distribution()
            return
        obstacles = self._obstacles()
        if obstacles and not Version(self.metadata.version).is_devrelease:
            lines = "\n".join(f"- {obstacle}" for obstacle in obstacles)
            self.app.abort(f"{self.metadata.version} must not be released:\n{lines}")
        for obstacle in obstacles:
            self.app.display_warning(f"lacking for a release: {obstacle}")

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was written for the build."""
        del version, build_data, artifact_path
        if self._scratch is not None:
            self._scratch.cleanup()

    def _add_digest(self, build_data: dict[str, Any]) -> None:
        with self._importable():
            from value_steer import versions  # noqa: PLC0415

            line = versions.digest_line(Path(self.root) / "value_steer")
        self._scratch = tempfile.TemporaryDirectory()
        path = Path(self._scratch.name) / versions.DIGEST_FILE
        path.write_text(line, encoding="ascii")
        build_data["force_include"][str(path)] = f"value_steer/{versions.DIGEST_FILE}"

    @property
    def _has_machine(self) -> bool:
        return (Path(self.root) / "compat").is_dir()

    def _obstacles(self) -> tuple[str, ...]:
        with self._importable():
            from compat.release import gate  # noqa: PLC0415  (needs what dependencies() asks for)

            return gate.examine(Path(self.root)).obstacles

    @contextlib.contextmanager
    def _importable(self) -> Iterator[None]:
        sys.path.insert(0, self.root)
        try:
            yield
        finally:
            sys.path.remove(self.root)

    def _require_source_distribution(self) -> None:
        if not (Path(self.root) / "PKG-INFO").is_file():
            self.app.abort(
                f"{self.root} is neither a checkout nor an unpacked source distribution: compat/ "
                "and PKG-INFO are both missing; build from a complete clone"
            )
