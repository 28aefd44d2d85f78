"""Machines, networks and compiled set-ups that several test files share."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

from aocsim.compiler import Compiled, Knowledge, compile_network, knowledge_of
from aocsim.compose import Electronics
from aocsim.diffusion.network import Network
from aocsim.diffusion.operator import BlockOperator
from aocsim.library import Library
from aocsim.machine import Machine, nominal_activation
from aocsim.spec import MachineSpec

# The first call of a compiled kernel takes seconds.
settings.register_profile("aocsim", deadline=None)
settings.load_profile("aocsim")

LAYOUT = (2, 6, 5)


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread():
    """Small matrices on several threads wait for each other, ten times slower on a busy machine."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@dataclass(frozen=True, eq=False)
class Bench:
    """A small random network compiled for a machine, with its electronics without error."""

    machine: Machine
    spec: MachineSpec
    network: Network
    operator: BlockOperator
    knowledge: Knowledge
    compiled: Compiled
    electronics: Electronics

    @property
    def trimmed_machine(self):
        """The machine as if its electronics had been built without error."""
        n, gains = self.machine.channels, self.machine.gains
        exact = replace(gains, alpha_gain=np.ones(n), offset=np.zeros(n), offset_per_beta=np.zeros(n))
        return replace(self.machine, gains=exact)

    def drive(self, samples, t, seed=1):
        x = np.random.default_rng(seed).standard_normal((samples, self.operator.layout[0]))
        return x, self.compiled.program.drive(self.operator.additive(t, x, samples))


@cache
def _library():
    return Library.open()


@cache
def _spec(name, channels, changes):
    overrides = {}
    for role, entry, text in changes:
        overrides.setdefault(role, {})[entry] = text
    spec = _library().machine(name, overrides)
    return spec if channels is None else replace(spec, channels=channels)


def _changes(overrides):
    return tuple(
        (role, entry, text) for role, entries in overrides.items() for entry, text in entries.items()
    )


@pytest.fixture(scope="session")
def spec_of():
    """spec_of(name, channels=None, ROLE={ENTRY: text}): a machine sheet, with another channel count if given."""

    def spec(name="aoc48", channels=None, **overrides):
        return _spec(name, channels, _changes(overrides))

    return spec


@pytest.fixture(scope="session")
def machine_of(spec_of):
    """machine_of(name, serial, channels, ROLE={ENTRY: text}): a machine as built; serial None is nominal."""

    @cache
    def build(name, serial, channels, changes):
        return Machine.build(_spec(name, channels, changes), serial)

    def machine(name="aoc48", serial=None, channels=None, **overrides):
        return build(name, serial, channels, _changes(overrides))

    return machine


@pytest.fixture(scope="session")
def network_of():
    """network_of(activation, layout, seed, scale): random layers that chain."""

    def network(activation, layout=LAYOUT, seed=3, scale=1.5):
        rng = np.random.default_rng(seed)
        pairs = list(zip(layout[1:] + layout[:1], layout, strict=True))
        return Network(
            "random",
            tuple(scale * rng.standard_normal(pair) / np.sqrt(pair[1]) for pair in pairs),
            tuple(0.3 * rng.standard_normal(out) for out, _ in pairs),
            tuple(0.3 * rng.standard_normal(out) for out, _ in pairs),
            activation,
            "none",
        )

    return network


@pytest.fixture(scope="session")
def bench_of(spec_of, network_of):
    """bench_of(name, serial, ..., ROLE={ENTRY: text}): a compiled small network on a machine."""

    @cache
    def build(name, serial, channels, steps, beta, alpha, quantise, layout, scale, changes):
        spec = _spec(name, channels, changes)
        machine = Machine.build(spec, serial)
        network = network_of(nominal_activation(spec), layout, scale=scale)
        operator = BlockOperator.from_network(network, 1.0 / steps)
        volts = machine.pair.knee
        knowledge = knowledge_of(machine, spec, network.activation, "exact", volts)
        compiled = compile_network(
            operator, knowledge, volts_per_unit=volts, beta=beta, alpha=alpha, quantise=quantise
        )
        electronics = Electronics(compiled.program.alpha, np.zeros(machine.channels))
        return Bench(machine, spec, network, operator, knowledge, compiled, electronics)

    def bench(
        name="aoc48",
        serial=1,
        channels=None,
        steps=8,
        beta=27.0,
        alpha="per_channel",
        quantise=True,
        layout=LAYOUT,
        scale=1.5,
        **overrides,
    ):
        return build(name, serial, channels, steps, beta, alpha, quantise, layout, scale, _changes(overrides))

    return bench
