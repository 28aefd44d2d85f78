"""Imports run downwards only, and nothing but this package's own top level is importable from it."""

from __future__ import annotations

import ast
from pathlib import Path

import aocsim

ROOT = Path(aocsim.__file__).parent

# from the top down; a module may import from its own layer or from a lower one
LAYERS = (
    ("__main__", "cli"),
    ("whatif_commands",),
    ("validate",),
    # a verb ends with the console's exit statuses, wherever what it tells is computed
    ("show", "report", "console", "calibration.commands"),
    ("__init__",),
    ("repeat", "comparison", "recommend"),
    ("scenarios",),
    ("bench",),
    ("roadmap",),
    # a twin is loaded from a calibration's sheet, too
    ("trim", "recorded", "calibration", "twin.model"),
    ("session",),
    ("experiment", "response"),
    ("blocks", "batch"),
    ("diffusion.train", "diffusion.through", "diffusion.checkpoint"),
    ("compiler",),
    ("diffusion",),
    ("timeline", "record", "metrics", "plots", "gantt", "provenance", "inputs", "significance"),
    ("spool", "pictures"),
    ("style",),
    ("compose", "memory"),
    ("live",),
    ("solve",),
    ("loop",),
    ("tangent",),
    ("twin",),
    ("program", "machine", "instrument"),
    ("library",),  # it asks the parts which entries their sheets must hold
    ("components",),
    ("asbuilt", "output", "folders", "terminal"),
    ("spec",),
    ("power",),
    ("stages",),
    ("law", "_kernels", "parallel", "allocation"),
    ("units", "seeds", "constants", "interrupts", "arguments", "options"),
    ("errors",),
)


def rank(module: str) -> int:
    """Layer of a dotted module name below `aocsim`, 0 at the top; the longest matching entry counts."""
    found = [
        (len(entry), level)
        for level, layer in enumerate(LAYERS)
        for entry in layer
        if module == entry or module.startswith(entry + ".")
    ]
    assert found, f"{module} has no place in LAYERS"
    return max(found)[1]


def sources() -> list[tuple[str, Path]]:
    files = sorted(path for path in ROOT.rglob("*.py") if "_library" not in path.parts)
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in files]
    return [(name.removesuffix(".__init__"), path) for name, path in zip(names, files, strict=True)]


def imported(path: Path) -> list[str]:
    """Modules of this package that a file imports, at the top or inside functions, type checking left out."""
    out: list[str] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.Import):
            out.extend(alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module:
            folder = ROOT.parent.joinpath(*node.module.split("."))
            inner = [f"{node.module}.{a.name}" for a in node.names if (folder / f"{a.name}.py").exists()]
            out.extend(inner or [node.module])
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text()))
    return [name.removeprefix("aocsim.") for name in out if name.startswith("aocsim.")]


def test_imports_run_downwards() -> None:
    wrong = [
        f"{name} imports {other}"
        for name, path in sources()
        for other in imported(path)
        if rank(other) < rank(name)
    ]
    assert not wrong, "\n".join(wrong)


def test_the_check_sees_an_upward_import(tmp_path: Path) -> None:
    file = tmp_path / "probe.py"
    file.write_text("def f():\n    from aocsim.scenarios import sample\n    import aocsim.cli\n")
    assert [rank(name) < rank("law") for name in imported(file)] == [True, True]


def test_solvers_and_loop_know_no_parts() -> None:
    for name, path in sources():
        if name == "loop" or name.startswith("solve"):
            assert not [m for m in imported(path) if m.startswith(("components", "machine", "library"))], name
