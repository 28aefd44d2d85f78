"""What made a result: versions, commit, inputs."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from aocsim.spec import MachineSpec

PACKAGES = ("aocsim", "numpy", "scipy", "numba", "simpy", "xarray", "netCDF4", "POT")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def commit() -> str:
    """Commit of the checkout that the package runs from, with "+changes" if it was edited; "" elsewhere."""
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        head = _git(root, "rev-parse", "HEAD")
        return head + ("+changes" if _git(root, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()


def machine_record(spec: MachineSpec) -> str:
    """The machine's sheets as JSON: names, hashes and whatever the scenario changed."""
    parts: Mapping[str, object] = {
        role: {"sheet": part.name, "sha256": part.sha256, "overrides": dict(part.overrides)}
        for role, part in spec.parts.items()
    }
    sheet = {"sheet": spec.name, "sha256": spec.sha256, "channels": spec.channels}
    return json.dumps({"machine": sheet, "parts": parts}, sort_keys=True)
