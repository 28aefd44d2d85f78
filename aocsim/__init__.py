"""Physical simulator of the analog optical computer and of analog diffusion models on it.

A scenario names a machine, a trained model and what is sampled; running it gives an `xarray.Dataset`::

    import aocsim

    result = aocsim.run("heart", seed=1, overrides={"samples": 20})
    print(result.attrs["summary"])
    points = result["state"].isel(step=-1)
    better = aocsim.run("heart", overrides={"parts.slm.contrast": "1000"}, out="results/contrast")

What-if studies vary a scenario, build it many times, or ask what costs what::

    study = aocsim.what_if("sweep", "heart", vary={"parts.slm.contrast": "50:5000:log:9"}, set={"samples": 64})
    study["w2_machine"].plot()

A stored result can be repeated, and compared with another one::

    assert aocsim.rerun("results/contrast/result.nc").identical
    print(aocsim.compare("results/heart/result.nc", "results/contrast/result.nc").agree)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import xarray

    from aocsim.comparison import Comparison
    from aocsim.repeat import Rerun

    __version__: str

__all__ = ["__version__", "compare", "rerun", "run", "what_if"]


def run(
    scenario: str | os.PathLike[str],
    *,
    seed: int | None = None,
    overrides: Mapping[str, object] | None = None,
    library: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> xarray.Dataset:
    """Run a scenario.

    Args:
        scenario: name in the library, or a path that ends in .toml.
        seed: of the live noise; as the override `seed`.
        overrides: values by dotted key, typed as in the file: {"diffusion.steps": 8}.
        library: folder that is searched first.
        out: folder for the results; nothing is written without it.
        progress: show a progress bar.

    Raises:
        AocsimError: any fault of the input, or a machine that does not work.
    """
    import os
    from pathlib import Path

    from aocsim.scenarios.run import run_scenario

    changes = dict(overrides or {})
    if seed is not None:
        changes["seed"] = seed
    return run_scenario(
        os.fspath(scenario),
        library=None if library is None else Path(library),
        overrides=changes,
        out=None if out is None else Path(out),
        progress=progress,
    )


def what_if(
    kind: str,
    scenario: str | os.PathLike[str],
    *,
    library: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
    **settings: object,
) -> xarray.Dataset:
    """Run a what-if study of a scenario.

    Args:
        kind: "sweep", "montecarlo", "budget" or "sensitivity".
        scenario: that is varied; name in the library, or a path that ends in .toml.
        library: folder that is searched first.
        out: folder for the results and for finished points, from which a study goes on; nothing is written without it.
        progress: show a progress bar.
        settings: of the study, as `aocsim.scenarios.whatif.schema` names them, such as vary={"compile.beta": [20, 25]};
            `set` changes the scenario in all points, by dotted key.

    Raises:
        AocsimError: any fault of the input, or no point that is possible.
    """
    import os
    from pathlib import Path

    from aocsim.library import Library
    from aocsim.scenarios.load import what_if as study_of
    from aocsim.scenarios.run import run_loaded

    source = Library.open(None if library is None else Path(library))
    study = study_of(kind, os.fspath(scenario), source, settings)
    return run_loaded(study, source, None if out is None else Path(out), progress).data


def rerun(
    path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    out: str | os.PathLike[str] | None = None,
    progress: bool = False,
) -> Rerun:
    """Repeat a stored result from what its file holds, and compare bit for bit.

    Args:
        path: a result.nc.
        threads: workers, 0 takes all cores; by default as many as then. The result does not depend on it.
        out: folder for the new results; nothing is written without it.
        progress: show a progress bar.

    Raises:
        AocsimError: the file is no result, or cannot be repeated with this version.
    """
    from pathlib import Path

    from aocsim.repeat import rerun as repeat

    return repeat(Path(path), threads=threads, out=None if out is None else Path(out), progress=progress)


def compare(path_a: str | os.PathLike[str], path_b: str | os.PathLike[str]) -> Comparison:
    """What differs between two stored results: in their inputs, and in their outputs beyond noise.

    Args:
        path_a: a result.nc.
        path_b: another one.

    Raises:
        InputError: a file that is no result.
    """
    from pathlib import Path

    from aocsim.comparison import compare as compare_files

    return compare_files(Path(path_a), Path(path_b))


def __getattr__(name: str) -> str:
    # Late: looking up the installed version takes longer than all else that importing this package does.
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("aocsim")
    except PackageNotFoundError:
        return "0+unknown"
