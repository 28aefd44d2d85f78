"""Points of a study are told apart by all that decides their result."""

import tomllib

import pytest

from aocsim.library import Library
from aocsim.scenarios.whatif.points import changed, point

SHEETS = Library.open().folders[-1] / "components"
CHANGES = {
    "slm": ("heart", "roadmap_single"),
    "dac": ("heart", "roadmap_single"),
    # sheets beside those of the machine's parts
    "module_lcos": ("roadmap_single",),
    "gpu_reference": ("roadmap_single",),
}


def digest(name, library):
    base = tomllib.loads(library.scenario_path(name).read_text(encoding="utf-8"))
    return point({}, changed({**base, "name": name}, {}, library), library).digest


@pytest.mark.parametrize(
    ("sheet", "name"), [(sheet, name) for sheet, names in CHANGES.items() for name in names]
)
def test_an_edited_sheet_makes_another_point(sheet, name, tmp_path):
    (tmp_path / "components").mkdir()
    edited = tmp_path / "components" / f"{sheet}.toml"
    text = (SHEETS / edited.name).read_text(encoding="utf-8")
    edited.write_text(text, encoding="utf-8")
    same = digest(name, Library.open(tmp_path))
    assert same == digest(name, Library.open())
    edited.write_text(text + "\n# measured anew\n", encoding="utf-8")
    assert digest(name, Library.open(tmp_path)) != same
