"""The gate in front of every build: no release leaves a checkout that its registry does not back.

A development version is built and told what it lacks. A source distribution has passed the gate
when it was made and holds no machine to pass it again, so a wheel of it is built as it stands.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from packaging.version import Version

GATE_NEEDS = ["filelock>=3.16", "jsonschema>=4.23", "pyyaml>=6.0"]


class ReleaseGate(BuildHookInterface[Any]):
    """Asks ``compat.release.gate`` before hatchling writes anything."""

    def dependencies(self) -> list[str]:
        """What the gate needs where there is one."""
        return GATE_NEEDS if self._has_machine else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Refuse a release with obstacles; warn about those of a development version."""
        del build_data
        if version == "editable":
            return
        if not self._has_machine:
            self._require_source_distribution()
            return
        obstacles = self._obstacles()
        if obstacles and not Version(self.metadata.version).is_devrelease:
            lines = "\n".join(f"- {obstacle}" for obstacle in obstacles)
            self.app.abort(f"{self.metadata.version} must not be released:\n{lines}")
        for obstacle in obstacles:
            self.app.display_warning(f"lacking for a release: {obstacle}")

    @property
    def _has_machine(self) -> bool:
        return (Path(self.root) / "compat").is_dir()

    def _obstacles(self) -> tuple[str, ...]:
        sys.path.insert(0, self.root)
        try:
            from compat.release import gate  # noqa: PLC0415  (needs what dependencies() asks for)

            return gate.examine(Path(self.root)).obstacles
        finally:
            sys.path.remove(self.root)

    def _require_source_distribution(self) -> None:
        if not (Path(self.root) / "PKG-INFO").is_file():
            self.app.abort(
                f"{self.root} is neither a checkout nor an unpacked source distribution: compat/ "
                "and PKG-INFO are both missing; build from a complete clone"
            )
