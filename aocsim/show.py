"""`aocsim show`: everything that the library says of a part, a machine, a model or a scenario."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aocsim.diffusion.network import load_loss, load_network
from aocsim.diffusion.train import load_recipe
from aocsim.library import Library, read_toml
from aocsim.scenarios.load import load_scenario
from aocsim.spec import MachineSpec, PartSpec, Text
from aocsim.terminal import NOTHING, print_table, say, short_path

LAST = 100  # iterations over which the final loss is averaged


def show_part(part: PartSpec) -> None:
    """A part: every entry of its sheet."""
    say(f"part {part.name}: {part.describes}", f"law {part.law}, {short_path(part.path)}", "")
    _print_entries(part)


def _print_entries(part: PartSpec) -> None:
    written = tomllib.loads(part.text)["entries"]  # spread and range as the sheet spells them
    rows = []
    for name, entry in part.entries.items():
        spread = part.overrides.get(f"{name}.spread", written[name].get("spread", NOTHING))
        rows.append(
            (
                name,
                _as_written(entry.text),
                entry.dimension,
                _as_written(spread),
                NOTHING if spread == NOTHING else entry.per,
                entry.basis,
                " to ".join(written[name]["valid"]),
                entry.source,
            )
        )
    print_table(("entry", "value", "unit", "spread", "per", "basis", "valid", "source"), rows)


def show_machine(machine: MachineSpec, expand: bool) -> None:
    """A machine: its roles, and with `expand` the entries of every part."""
    say(f"machine {machine.name}: {machine.describes}")
    say(f"{machine.channels} channels, {short_path(machine.path)}", "")
    rows = [
        (
            role,
            part.name,
            part.law,
            part.describes,
            ", ".join(f"{name} = {_as_written(text)}" for name, text in part.overrides.items()),
        )
        for role, part in machine.parts.items()
    ]
    print_table(("role", "part", "law", "describes", "changes"), rows)
    if expand:
        for role, part in machine.parts.items():
            say("", f"{role}: {part.name}", "")
            _print_entries(part)


def show_model(path: Path) -> None:
    """A model: its recipe and how the training went."""
    recipe = load_recipe(path)
    say(f"model {recipe.name}: {recipe.describes}", short_path(path), "")
    print_table(("recipe", "value"), [(key, _as_text(value)) for key, value in _flat(read_toml(path)[0])])
    say("")
    weights = path.with_suffix(".nc")
    if not weights.is_file():
        say(f"not trained yet: aocsim train {recipe.name}")
        return
    network, loss = load_network(weights), load_loss(weights)
    origin = dict(network.origin)
    same = origin.pop("recipe", None) == recipe.model_dump(mode="json", by_alias=True)
    rows = [
        ("weights", short_path(weights)),
        ("recipe", "as above" if same else "another one: the recipe was changed since, or for this training"),
        ("layout", ", ".join(map(str, network.layout))),
        ("channels", str(network.units)),
        ("iterations", str(len(loss))),
    ]
    if len(loss):
        rows.append(("final loss", f"{loss[-LAST:].mean():.4f}"))
    rows += [(key, _as_text(value)) for key, value in origin.items() if value is not None]
    print_table(("training", "outcome"), rows)


def show_scenario(name: str, library: Library) -> None:
    """A scenario: every key, from the file or by default."""
    scenario = load_scenario(name, library)
    path = library.scenario_path(name)
    say(f"scenario {scenario.name}: {scenario.describes}", short_path(path), "")
    written = list(_flat(read_toml(path)[0]))
    keys = {key for key, _ in written}
    rows = [(key, _as_text(value), "file") for key, value in written]
    for key, value in _flat(json.loads(scenario.to_json())):
        if key not in keys and not key.startswith("parts") and value is not None:
            # What the file leaves out is known as a number alone, without the text it would stand as there.
            rows.append((key, _as_text(value), "default, SI" if isinstance(value, float) else "default"))
    print_table(("key", "value", "from"), rows)


def _flat(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Values of nested tables by dotted key."""
    for name, item in table.items():
        if isinstance(item, Mapping):
            yield from _flat(item, f"{prefix}{name}.")
        else:
            yield prefix + name, item


def _as_written(text: Text) -> str:
    return text if isinstance(text, str) else ", ".join(text)


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return ", ".join(map(_as_text, value))
    return json.dumps(value)
