"""Resolves a recipe against the package index, to one file per package.

``uv`` resolves, because it can override: vLLM's CPU builds demand a build of torch that few indexes
serve, and torch's siblings for images and sound must stay out.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import uv
from packaging.markers import default_environment
from packaging.pylock import (
    PackageSdist,
    PackageWheel,
    Pylock,
    PylockSelectError,
    PylockValidationError,
)
from packaging.tags import compatible_tags, cpython_tags

from compat.errors import ResolveError
from compat.isolate import find_links, outcome, pip_settings
from compat.isolate.protocol import UNWANTED
from value_steer.contracts.sources.pip_config import is_set

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from compat.isolate.pip_settings import PipSettings
    from compat.isolate.protocol import Recipe

_UV_OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "trusted-host": "--allow-insecure-host",
    "constraint": "--constraint",
}
_PROXY_VARIABLES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY")


def resolve(recipe: Recipe, python: str, log: Path) -> tuple[str, ...]:
    """The lines of a lock; see :mod:`compat.isolate.locks`.

    Args:
        recipe: What to install.
        python: Version of Python it is installed for, such as ``3.11``.
        log: Receives what the resolver says.

    Raises:
        InfraError: The network or this machine is in the way.
        ResolveError: There are no packages that fit together.
    """
    settings = pip_settings.read()
    with (
        tempfile.TemporaryDirectory(prefix="value-steer-lock-") as scratch,
        # uv reads indexes over HTTP only, pip also those on a disk.
        find_links.serve(settings.local_folders()) as address,
    ):
        target = Path(scratch, "pylock.toml")
        wanted = _write(target.with_name("wanted.txt"), recipe.pins[0], *recipe.extras)
        never = [f'{name}; sys_platform == "never"' for name in UNWANTED]
        overrides = _write(target.with_name("overrides.txt"), recipe.pins[1], *never)
        command = [
            uv.find_uv_bin(),
            "pip",
            "compile",
            "--quiet",
            str(wanted),
            "--override",
            str(overrides),
        ]
        command += ["--python-version", python, "--format", "pylock.toml"]
        command += ["--output-file", str(target), *_uv_options(settings.places(address))]
        with log.open("w", encoding="utf-8") as out:
            done = subprocess.run(
                command, env=_environment(settings), stdout=out, stderr=out, check=False
            )
        if done.returncode != 0:
            what = f"resolving {recipe.pins[0]}"
            raise outcome.failure(what, log)
        return _select(target.read_text(encoding="utf-8"), recipe, python)


def _select(pylock: str, recipe: Recipe, python: str) -> tuple[str, ...]:
    """The line of each package's file that this machine's pip would take."""
    major, _, minor = python.partition(".")
    version = (int(major), int(minor))
    environment = {**default_environment(), "python_version": python}
    environment["python_full_version"] = f"{python}.0"
    tags = [*cpython_tags(version), *compatible_tags(version, f"cp{major}{minor}")]
    try:
        lock = Pylock.from_dict(tomllib.loads(pylock))
        chosen = list(lock.select(environment=environment, tags=tags))  # type: ignore[arg-type]
        lines = [
            f"{package.name}=={package.version} --hash=sha256:{file.hashes['sha256']}"
            for package, file in chosen
            if isinstance(file, PackageWheel | PackageSdist)  # a recipe asks for nothing else
        ]
    except (PylockSelectError, PylockValidationError, KeyError) as error:
        msg = f"{recipe.pins[0]}: not every package has a file for Python {python} here ({error})"
        raise ResolveError(msg) from error
    return tuple(sorted(lines))


def _write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def _environment(settings: PipSettings) -> dict[str, str]:
    """The variables for uv; pip's own options come in their place."""
    environment = {**os.environ, "UV_NO_CONFIG": "1", "UV_HTTP_TIMEOUT": "180"}
    if settings.cert:
        environment["SSL_CERT_FILE"] = str(settings.cert)
    for option, variable in (
        ("default-timeout", "UV_HTTP_TIMEOUT"),
        ("timeout", "UV_HTTP_TIMEOUT"),
        ("retries", "UV_HTTP_RETRIES"),
        ("client-cert", "SSL_CLIENT_CERT"),
    ):
        for value in settings.values.get(option, ()):
            environment[variable] = value
    # uv takes whole seconds.
    environment["UV_HTTP_TIMEOUT"] = str(math.ceil(float(environment["UV_HTTP_TIMEOUT"])))
    if "proxy" in settings.values:
        for name in _PROXY_VARIABLES:
            environment.pop(name, None)
            environment.pop(name.lower(), None)
            for value in settings.values["proxy"]:
                environment[name] = value
    # Folders of this machine are served on it.
    known = environment.get("NO_PROXY") or environment.get("no_proxy")
    environment.pop("no_proxy", None)
    own = pip_settings.LOOPBACK
    environment["NO_PROXY"] = f"{known},{own}" if known else own
    return environment


def _uv_options(places: Mapping[str, tuple[str, ...]]) -> Iterator[str]:
    if is_set({name: " ".join(values) for name, values in places.items()}, "no-index"):
        yield "--no-index"
    for option, values in places.items():
        for value in values if option in _UV_OPTIONS else ():
            yield from (_UV_OPTIONS[option], value)
    # As pip does: the best version of all indexes, not of the first that knows the name.
    yield from ("--index-strategy", "unsafe-best-match")
