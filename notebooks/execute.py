"""Execute notebooks and keep their outputs: `make notebooks`, or with the notebooks' paths."""

from __future__ import annotations

import asyncio
import base64
import io
import os
import sys
import tempfile
from pathlib import Path

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from PIL import Image

FOLDER = Path(__file__).resolve().parent
SECONDS_PER_CELL = 600
COLOURS = 128
KERNELSPEC = {"display_name": "Python 3", "language": "python", "name": "python3"}


def execute(path: Path) -> nbformat.NotebookNode:
    """A notebook with the outputs of a fresh kernel, run by this interpreter in an empty folder.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    # a short path, since it holds the sockets of the kernel: no network, not even the computer's own
    with tempfile.TemporaryDirectory(prefix="nb-") as scratch:
        place = Path(scratch)
        (place / "run").mkdir()
        # no folders: the kernel is that of this interpreter, whatever others are installed
        specs = KernelSpecManager(kernel_dirs=[])
        kernel = AsyncKernelManager(
            kernel_spec_manager=specs, transport="ipc", connection_file=str(place / "run" / "kernel.json")
        )
        client = NotebookClient(
            notebook, km=kernel, timeout=SECONDS_PER_CELL, resources={"metadata": {"path": scratch}}
        )
        settings = {
            "IPYTHONDIR": str(place / "ipython"),
            "JUPYTER_RUNTIME_DIR": str(place / "run"),
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        asyncio.run(_run(client, os.environ | settings))
    return _stable(notebook)


async def _run(client: NotebookClient, environment: dict[str, str]) -> None:
    await client.async_execute(cleanup_kc=True, env=environment)


def _stable(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Without whatever differs from one execution to the next, or from one computer to another."""
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNELSPEC, "language_info": {"name": "python"}})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _small(output.data["image/png"])
    return notebook


def _small(picture: str) -> str:
    """A PNG in base64 with a palette: drawings need few colours, and take a third of the space."""
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        few = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    packed = io.BytesIO()
    few.save(packed, "PNG", optimize=True)
    return base64.b64encode(packed.getvalue()).decode()


def main() -> None:
    """Execute and rewrite what the command line names, by default all notebooks of this folder."""
    for path in [Path(name) for name in sys.argv[1:]] or sorted(FOLDER.glob("*.ipynb")):
        notebook = execute(path)
        text = nbformat.writes(notebook)
        path.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
        print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    main()
