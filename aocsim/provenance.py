"""What made a result: versions, commit, inputs."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType

from aocsim.errors import InputError
from aocsim.library import FOLDERS, Library
from aocsim.spec import MachineSpec
from aocsim.twin.sheets import TYPICAL

KNOWLEDGE = "compile.knowledge"
BROUGHT_ALONG = {
    KNOWLEDGE: "calibrations/knowledge.nc",
    "open_loop": "calibrations/open_loop.nc",
    "record": "calibrations/experiments.nc",
}
"""Files that a scenario names by their paths: by its keys, where they stand among a run's inputs."""

PACKAGES = (
    "aocsim", "numpy", "scipy", "numba", "llvmlite", "simpy", "xarray", "netCDF4", "POT", "pint", "pydantic",
    "joblib",
)  # fmt: skip


def versions() -> dict[str, str]:
    """What the bits of a result depend on beside its inputs: software, and the processor it was compiled for.

    Packages by their versions; "source", a hash of this package's own code, which tells edits apart that no version
    number does; "blas", the libraries of numpy and scipy with the kernels they have chosen; "simd", the instructions
    that numpy uses; "processor", what numba compiles for.
    """
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found | {
        "source": source_digest(),
        "blas": _blas(),
        "simd": _simd(),
        "processor": _processor(),
        "machine": platform.machine(),
        "system": platform.system(),
        "libc": " ".join(platform.libc_ver()).strip() or platform.release(),
    }


def source_digest() -> str:
    """First 16 hex digits of the SHA-256 over the package's modules, their names and texts."""
    package = Path(__file__).resolve().parent
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        if "_library" not in path.parts:
            text = path.read_bytes()
            digest.update(f"{path.relative_to(package).as_posix()} {len(text)}\n".encode())
            digest.update(text)
    return digest.hexdigest()[:16]


def _blas() -> str:
    """The BLAS libraries that numpy and scipy have loaded; a matrix product's last bits are theirs."""
    import scipy.linalg  # noqa: F401 - brings its own
    from threadpoolctl import threadpool_info

    found = {
        f"{library['internal_api']} {library['version']} {library.get('architecture', '')}".strip()
        for library in threadpool_info()
        if library["user_api"] == "blas"
    }
    return ", ".join(sorted(found)) or "unknown"


def _simd() -> str:
    import numpy as np

    found = np.show_config(mode="dicts")
    extensions = found.get("SIMD Extensions", {}) if isinstance(found, dict) else {}
    return " ".join([*extensions.get("baseline", ()), *extensions.get("found", ())]) or "unknown"


def _processor() -> str:
    from llvmlite import binding

    return str(binding.get_host_cpu_name())


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
    """The machine's sheets as JSON: names, hashes and whatever the scenario changed; `record` keeps their text."""
    parts: Mapping[str, object] = {
        role: {"sheet": part.name, "sha256": part.sha256, "overrides": dict(part.overrides)}
        for role, part in spec.parts.items()
    }
    sheet = {"sheet": spec.name, "sha256": spec.sha256, "channels": spec.channels}
    return json.dumps({"machine": sheet, "parts": parts}, sort_keys=True)


def named_path(key: str, name: str, library: Library) -> Path:
    """A file that a scenario names: the one that a result has brought along, or a path.

    Args:
        key: one of `BROUGHT_ALONG`.
        name: as the scenario has it; a relative path begins at the current folder.
        library: where the scenario's other inputs come from.
    """
    place = BROUGHT_ALONG[key]
    if name == Path(place).name:
        for folder in library.folders:
            if (folder / place).is_file():
                return folder / place
    return Path(name)


def input_files(
    machine: MachineSpec,
    models: Sequence[str],
    library: Library,
    named: Mapping[str, str] = MappingProxyType({}),
    beside: Sequence[str] = (),
) -> dict[str, bytes]:
    """All files of the library that a run reads, by their place in a library folder, as in components/slm.toml.

    Args:
        machine: the machine's sheets as the run uses them.
        models: their names, or paths of their recipes.
        library: where they come from.
        named: files that the scenario names, by their keys, as `named_path` takes them.
        beside: names of sheets that are read beside those of the machine's parts.

    Returns:
        Sheets of the machine and of its parts, those too that the scenario replaces, since the machine's sheet names
        them; the models' recipes and weights; named files, and the sheets from which the machine behind a calibration
        has what is not measured.

    Raises:
        InputError: a file cannot be read.
    """
    sheets = {sheet.name: sheet.text for sheet in library.machine(machine.name).parts.values()}
    sheets |= {sheet.name: sheet.text for sheet in machine.parts.values()} | {machine.name: machine.text}
    if KNOWLEDGE in named:
        typical = library.machine(TYPICAL)
        sheets = {sheet.name: sheet.text for sheet in typical.parts.values()} | sheets
        sheets.setdefault(typical.name, typical.text)
    sheets |= {name: library.part(name).text for name in beside}
    files = {f"{FOLDERS['parts']}/{name}.toml": text.encode() for name, text in sheets.items()}
    for key, name in named.items():
        try:
            files[BROUGHT_ALONG[key]] = _bytes_of(named_path(key, name, library))
        except InputError as error:
            raise error.located(key=key) from error
    for recipe in map(library.model_path, models):
        for path in (recipe, recipe.with_suffix(".nc")):
            files[f"{FOLDERS['models']}/{path.name}"] = _bytes_of(path)
    return files


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a name that no file can have
        raise InputError(f"cannot be read: {getattr(error, 'strerror', None) or error}", file=path) from error
