"""``discover``, ``plan``, ``lock``, ``static`` and ``image``: ahead of the cells of a matrix."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from compat.checkout import ROOT
from compat.commands.options import add_releases, cells
from compat.errors import ExitCode, UsageError
from compat.isolate import images, locks, recipes, resolver
from compat.registry import static, store
from compat.releases import discover, matrix, upstream
from compat.releases.candidates import (
    CANDIDATES,
    dump_candidates,
    newest_with_build,
    select_release,
)
from value_steer.cli.arguments.types import PATH, VERSION
from value_steer.cli.places import NEW_FILE, OUTPUT_FOLDER
from value_steer.records.files import write_atomically

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from compat.cell.services import Services
    from compat.commands.options import Menu
    from compat.console import Progress
    from compat.releases.matrix import PlannedCell


def add(menu: Menu) -> None:
    """Put the commands on the menu."""
    discovery = menu.add_parser("discover", help="list the releases on the package index")
    discovery.add_argument("--prereleases", action="store_true", help="pre-releases as well")
    discovery.add_argument("--candidates", type=PATH, default=CANDIDATES, help="file to write")
    discovery.set_defaults(command=discover_releases, places={"--candidates": NEW_FILE})
    survey = menu.add_parser("static", help="check the contracts of every release and record it")
    survey.add_argument(
        "--upstream", type=PATH, default=upstream.UPSTREAM, help="file for what releases changed"
    )
    survey.set_defaults(command=survey_contracts, places={"--upstream": NEW_FILE})
    lock = menu.add_parser("lock", help="resolve releases and keep what they come to")
    add_releases(lock)
    lock.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="whose build")
    lock.add_argument("--out", type=PATH, default=Path("out"), help="folder for logs")
    lock.set_defaults(command=lock_releases, places={"--out": OUTPUT_FOLDER})
    plan = menu.add_parser("plan", help="print the matrix of cells as GitHub Actions reads it")
    add_releases(plan)
    plan.add_argument("--device", choices=("cpu", "cuda"), help="only the cells that run there")
    plan.add_argument("--out", type=PATH, help="file to write instead of printing")
    plan.add_argument(
        "--github-output", action="store_true", help="also set a step's outputs matrix and count"
    )
    plan.set_defaults(command=print_plan, places={"--out": NEW_FILE})
    image = menu.add_parser("image", help="build the image of a release, ahead of its cells")
    image.add_argument(
        "version", type=VERSION, nargs="?", help="a series or a release; the newest if none"
    )
    image.add_argument("--out", type=PATH, default=Path("out"), help="folder for the log")
    image.set_defaults(command=build_image, places={"--out": OUTPUT_FOLDER})


def discover_releases(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Ask the package index for releases and write the candidates."""
    policy = arguments.services.rules()
    rules = discover.Rules(
        policy.oldest_vllm, timedelta(hours=policy.cooldown_hours), arguments.prereleases
    )
    discovery = discover.discover(rules)
    found = discovery.candidates
    write_atomically(arguments.candidates, dump_candidates(found).encode())
    for reason in discovery.odd:
        progress.note(f"warning: {reason}")
    progress.note(f"{len(found)} releases in {arguments.candidates}, newest {found[-1].version}")
    return ExitCode.PASSED


def survey_contracts(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Check the contracts in the source of every candidate and record what holds."""
    surveyed = static.survey(arguments.services.candidates())
    found = surveyed.checks
    store.replace_static(arguments.registry, found)
    write_atomically(arguments.upstream, upstream.dumps(surveyed.upstream).encode())
    broken = [check for check in found if not check.holds]
    for check in broken:
        place = f"vLLM {check.vllm} ({check.runner}, {check.mode})"
        progress.problem(f"{place}: does not have what {', '.join(check.broken)} needs")
    progress.note(f"{len(found)} cells checked in {arguments.registry}, {len(broken)} broken")
    return ExitCode.FAILED if broken else ExitCode.PASSED


def lock_releases(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Resolve releases anew and keep what they come to in ``matrix/locks``."""
    services: Services = arguments.services
    rules, candidates = services.rules(), services.candidates()
    wanted = [select_release(version, candidates) for version in arguments.versions] or candidates
    for candidate in wanted:
        if not candidate.serves(arguments.device):
            progress.note(f"vLLM {candidate.version} has no {arguments.device} build")
            continue
        recipe = recipes.recipe(candidate, arguments.device, rules)
        arguments.out.mkdir(parents=True, exist_ok=True)
        log = arguments.out / f"lock-{recipe.version}.log"
        lines = resolver.resolve(recipe, rules.python, log)
        path = locks.write(recipe, rules.python, lines)
        progress.note(f"{len(lines)} packages in {path.relative_to(ROOT)}")
    return ExitCode.PASSED


def print_plan(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Print the matrix of cells, for GitHub Actions or for a person."""
    chosen = cells(arguments)
    text = matrix.dumps(chosen)
    if arguments.out is not None:
        write_atomically(arguments.out, text.encode())
        progress.note(f"{len(chosen)} cells in {arguments.out}")
    else:
        progress.console.out(text, end="", highlight=False)
    if arguments.github_output:
        _set_outputs(chosen)
    return ExitCode.PASSED


def build_image(arguments: argparse.Namespace, progress: Progress) -> ExitCode:
    """Build the image of a release, and nothing else."""
    services: Services = arguments.services
    candidates, rules = services.candidates(), services.rules()
    if arguments.version is None:
        candidate = newest_with_build(candidates, "cpu")
    else:
        candidate = select_release(arguments.version, candidates)
    isolation = services.choose("container", rules, gpu=False).isolation
    prepared = images.build(candidate, rules, isolation, arguments.out.resolve(), progress)
    progress.note(f"image {prepared.image_id} with {prepared.wheel}")
    return ExitCode.PASSED


def _set_outputs(chosen: Sequence[PlannedCell]) -> None:
    """Give the matrix to later jobs of a workflow, as the outputs ``matrix`` and ``count``."""
    target = os.environ.get("GITHUB_OUTPUT")
    if not target:
        msg = "--github-output: GITHUB_OUTPUT is not set, so this is no step of a workflow"
        raise UsageError(msg)
    line = " ".join(matrix.dumps(chosen).split())
    with Path(target).open("a", encoding="utf-8", newline="\n") as file:
        file.write(f"matrix={line}\ncount={len(chosen)}\n")
