"""The notebooks: executed from a clean kernel, where their own asserts hold the physics; stored ones are complete."""

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
LARGEST = 400 * 1024  # bytes
HOLDS = {
    "calibration": (5, 12),
    "diffusion": (4, 5),
    "first_run": (8, 15),
    "roadmap": (3, 7),
    "validation": (4, 15),
    "whatif": (5, 10),
}  # pictures and asserts, at least
SLOW = {"calibration", "diffusion", "first_run", "roadmap", "validation", "whatif"}  # half a minute and more
PRIVATE = re.compile(r"/(home|Users|root|tmp|work|var|private)/|[A-Z]:\\\\|object at 0x|\d+it/s")


def _executor():
    spec = importlib.util.spec_from_file_location("execute_notebooks", FOLDER / "execute.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _codes(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _outputs(notebook):
    return [output for cell in _codes(notebook) for output in cell.outputs]


def _texts(notebook):
    for output in _outputs(notebook):
        yield from (
            [output.text] if output.output_type == "stream" else map(str, output.get("data", {}).values())
        )


def _pictures(notebook):
    return sum("image/png" in output.get("data", {}) for output in _outputs(notebook))


def _asserts(notebook):
    return sum(
        line.lstrip().startswith("assert ") for cell in _codes(notebook) for line in cell.source.splitlines()
    )


def test_all_notebooks_are_known():
    assert [path.stem for path in NOTEBOOKS] == sorted(HOLDS)


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=[pytest.mark.slow] if p.stem in SLOW else [], id=p.stem) for p in NOTEBOOKS],
)
def test_runs_from_a_clean_kernel(path):
    folder_before = sorted(FOLDER.iterdir())
    stored, fresh = nbformat.read(path, as_version=4), _executor().execute(path)
    codes = _codes(fresh)
    assert [cell.execution_count for cell in codes] == list(range(1, len(codes) + 1))
    assert not [output for output in _outputs(fresh) if output.output_type == "error"]
    pictures, asserts = HOLDS[path.stem]
    assert _pictures(fresh) == _pictures(stored) >= pictures
    assert _asserts(fresh) >= asserts, "what the text says is no longer checked"
    assert sorted(FOLDER.iterdir()) == folder_before


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_is_stored_executed_small_and_without_traces_of_a_computer(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    codes = _codes(notebook)
    assert [cell.execution_count for cell in codes] == list(range(1, len(codes) + 1))
    assert path.stat().st_size < LARGEST
    assert not [output for output in _outputs(notebook) if output.get("name") == "stderr"]
    found = [PRIVATE.search(text).group() for text in _texts(notebook) if PRIVATE.search(text)]
    assert not found
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
