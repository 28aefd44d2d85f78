"""Roles that several laws can fill, laws from other packages, and what they are refused for."""

from __future__ import annotations

from dataclasses import replace
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest

from aocsim.components import microled, registry
from aocsim.components.microled import MicroLed
from aocsim.components.registry import PartLaw
from aocsim.errors import InputError
from aocsim.library import Library
from aocsim.machine import Machine
from aocsim.twin.format import measurement
from aocsim.twin.sheets import sheets_of


@pytest.fixture
def fresh():
    """The registry asks for entry points once; these tests change them."""
    registry.part_laws.cache_clear()
    yield
    registry.part_laws.cache_clear()


@pytest.fixture
def with_entry_point(monkeypatch, fresh):
    """with_entry_point(name, law or error): as if an installed package had registered it."""

    def register(name, law):
        def load():
            if isinstance(law, Exception):
                raise law
            return law

        point = SimpleNamespace(name=name, dist=SimpleNamespace(name="otherlab"), load=load)
        found = metadata.entry_points

        def entry_points(**wanted):
            return [point] if wanted.get("group") == "aocsim.parts" else found(**wanted)

        monkeypatch.setattr(registry, "entry_points", entry_points)

    return register


def measured_library(values):
    library = Library.open()
    return replace(library, given_sheets=sheets_of(measurement(values, "made up"), "mine", library))


def test_every_role_names_its_laws_the_physical_one_first():
    roles = registry.roles()
    assert roles["pair"] == ("pair", "pair_measured")
    assert roles["dac"] == ("dac",)
    assert list(roles) == list(Library.open().machine("aoc48").parts)


def test_a_role_switches_to_another_law(measured_values):
    library = measured_library(measured_values(2))
    typical = library.machine("aoc48")
    switched = library.machine("aoc48", {"pair": {"sheet": "mine_pair", "swing": "0.2 V"}})
    assert switched.parts["pair"].law == "pair_measured"
    machine = Machine.build(switched, 1)
    np.testing.assert_array_equal(machine.pair.swing, 0.2)
    # every other part is what it was
    other = Machine.build(typical, 1)
    np.testing.assert_array_equal(machine.optics.fan(), other.optics.fan())
    back = switched.with_overrides({"pair": {"sheet": "pair"}}, library.part)
    np.testing.assert_array_equal(Machine.build(back, 1).pair.swing, other.pair.swing)


def test_a_sheet_of_a_law_that_cannot_fill_the_role_is_refused_with_those_that_can(measured_values):
    library = measured_library(measured_values(2))
    with pytest.raises(InputError) as caught:
        library.machine("aoc48", {"pair": {"sheet": "mine_optics"}})
    assert "needs a sheet of law 'pair' or 'pair_measured', not 'optics_measured'" in str(caught.value)
    assert caught.value.key == "parts.pair"


def test_a_law_from_another_package_fills_its_role(with_entry_point, tmp_path):
    def build(part):
        return replace(MicroLed.build(part), thermal_droop=-0.005)

    with_entry_point("otherled", PartLaw("led", microled.ENTRIES, build))
    library = Library.open()
    text = library.part("microled").text.replace('law = "microled"', 'law = "otherled"')
    library = replace(
        library, given_sheets={"otherled": text.replace('name = "microled"', 'name = "otherled"')}
    )
    machine = Machine.build(library.machine("aoc48", {"led": {"sheet": "otherled"}}), None)
    assert machine.led.thermal_droop == -0.005
    assert "otherled" in library.roles["led"]


@pytest.mark.parametrize(
    ("name", "law", "words"),
    [
        ("broken", ImportError("no module named 'lab'"), "cannot be loaded: ImportError: no module"),
        ("odd", "a string", "must be a PartLaw"),
        ("odd", PartLaw("detektor", {}, lambda part: part), "did you mean 'detector'?"),
        ("pair", PartLaw("pair", {}, lambda part: part), "a law of this name exists already"),
    ],
)
def test_a_law_from_another_package_is_refused_with_its_origin(with_entry_point, name, law, words):
    with_entry_point(name, law)
    with pytest.raises(InputError) as caught:
        registry.part_laws()
    assert words in str(caught.value)
    assert "otherlab" in str(caught.value)


def test_knowledge_asks_each_law_for_what_is_calibrated(measured_values, machine_of):
    """Every law passes arrays by name, each once, and leaves what is not calibrated alone."""
    measured = Machine.build(measured_library(measured_values(2)).machine("mine"), None)
    for machine in (measured, machine_of("aoc48", serial=1)):
        asked: list[str] = []

        def known(name, true, asked=asked):
            asked.append(name)
            return 2 * true

        slm = machine.slm.as_known(known)
        machine.optics.as_known(known)
        machine.detector.as_known(known)
        gains = machine.gains.as_known(known)
        assert len(asked) == len(set(asked)) >= 9
        assert slm.flicker == machine.slm.flicker
        np.testing.assert_array_equal(gains.closed_loop_gain, 2 * machine.gains.closed_loop_gain)
        np.testing.assert_array_equal(gains.offset, machine.gains.offset)
        assert np.all(
            slm.response(np.full((2, 48, 48), 0.5)) > machine.slm.response(np.full((2, 48, 48), 0.5))
        )
