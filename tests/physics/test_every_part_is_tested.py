"""Every law ships a limit case, an invariance or monotonicity (hypothesis), and a published point."""

import ast
from pathlib import Path

import pytest

from aocsim import components
from aocsim.components import registry

HERE = Path(__file__).parent
KINDS = ("test_limit_", "test_property_", "test_published_")


def functions(path):
    return [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]


def uses_hypothesis(function):
    return any("given" in ast.dump(decorator) for decorator in function.decorator_list)


def checks(function):
    return any(isinstance(n, ast.Assert) for n in ast.walk(function)) or "assert_" in ast.dump(function)


@pytest.mark.parametrize("law", sorted(registry.laws()))
def test_law_ships_its_three_tests(law):
    path = HERE / f"test_{law}.py"
    assert path.is_file(), f"law {law!r}: write {path}"
    for kind in KINDS:
        found = [f for f in functions(path) if f.name.startswith(kind)]
        assert found, f"{path.name}: no {kind}* test"
        assert all(checks(f) for f in found), f"{path.name}: a {kind}* test asserts nothing"
    assert all(uses_hypothesis(f) for f in functions(path) if f.name.startswith("test_property_"))


def test_every_module_of_a_part_is_registered():
    """A module with entries that no law declares would be a part without tests."""
    declared = {id(entries) for entries in registry.laws().values()}
    folder = Path(components.__file__).parent
    for path in sorted(folder.glob("*.py")):
        if path.stem in ("__init__", "registry", "roles"):
            continue
        module = __import__(f"aocsim.components.{path.stem}", fromlist=["*"])
        tables = [value for name, value in vars(module).items() if name.endswith("ENTRIES")]
        assert tables, f"{path.name} declares no entries"
        assert all(id(table) in declared for table in tables), f"{path.name} is not in registry.laws()"


def test_every_role_has_a_law():
    named = [law for laws in registry.roles().values() for law in laws]
    assert sorted([*named, *registry.EQUIPMENT]) == sorted(registry.laws())
    assert not {law.role for law in registry.EQUIPMENT.values()} & set(registry.roles())
