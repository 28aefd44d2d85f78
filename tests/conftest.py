"""Machines, networks and compiled set-ups that several test files share."""

import os
import signal
import sys
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from threadpoolctl import threadpool_limits

from aocsim import interrupts
from aocsim.compiler import Compiled, Knowledge, compile_network, knowledge_of
from aocsim.compose import Electronics
from aocsim.diffusion.network import Network
from aocsim.diffusion.operator import BlockOperator
from aocsim.library import Library
from aocsim.machine import Machine, nominal_activation
from aocsim.spec import MachineSpec
from aocsim.twin.format import measurement, write_measurement
from aocsim.twin.sheets import machine_spec

# The first call of a compiled kernel takes seconds. The same examples every time: a change is judged by what it
# changed; `make search` looks for others.
settings.register_profile("aocsim", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, derandomize=False, print_blob=True)
settings.load_profile("aocsim")

LAYOUT = (2, 6, 5)
HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def pytest_configure() -> None:
    """Hear the signals that the tests send, which a background shell and nohup let all their children ignore."""
    for sent in HEARD:
        if signal.getsignal(sent) is signal.SIG_IGN:
            signal.signal(sent, signal.default_int_handler if sent == signal.SIGINT else signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread():
    """Small matrices on several threads wait for each other, ten times slower on a busy machine."""
    with threadpool_limits(limits=1, user_api="blas"):
        yield


@pytest.fixture(autouse=True)
def _signals_left_as_they_were():
    """A command line that is called in this process listens for signals until the process ends."""
    before = {sent: signal.getsignal(sent) for sent in HEARD}
    hook = sys.unraisablehook
    yield
    for sent, handler in before.items():
        signal.signal(sent, handler)
    sys.unraisablehook = hook
    interrupts._came.clear()


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


TWIN_FILE_VARIABLE = "AOCSIM_TWIN_FILE"


def plausible_measurement(seed, n=48):
    """Values of a measured machine of n channels by dotted key: every list drawn at random, one input dead."""
    rng = np.random.default_rng(seed)
    x = (np.arange(n) - (n - 1) / 2) / (n / 2)

    def around(mean, spread):
        return (np.asarray(mean) + spread * rng.standard_normal(n)).tolist()

    values = {
        "best_to_worst_channels": [int(i) + 1 for i in rng.permutation(n)],
        "deq_input_min_max": [-1.3, 1.3],
        "tanh_sigmoid_coeffs": [
            rng.uniform(3.0, 4.0),
            rng.uniform(-0.05, 0.05),
            rng.uniform(2.2, 6.0),
            rng.uniform(0.18, 0.24),
            rng.uniform(-1e-3, 1e-3),
            rng.uniform(0.0, 8e-3),
        ],
    }
    row = np.maximum(1.2 + 0.16 * x - 0.56 * x**2, 0.3) * (1 + 0.08 * rng.standard_normal(n))
    row[rng.integers(n)] = 0.0
    for short, sign in (("pos", "positive"), ("neg", "negative")):
        values[f"led_poly_coeffs_{short}"] = [
            rng.uniform(-0.3, -0.15),
            rng.uniform(-0.1, -0.05),
            rng.uniform(0.19, 0.24),
            rng.uniform(2e-4, 6e-4),
        ]
        bell = np.exp(-(x**2) / (2 * 0.75**2))
        laws = np.stack([around(-0.19 * bell, 0.01), around(1.1 * bell, 0.02), around(0.06 * bell, 0.002)])
        earlier, later = np.abs(around(0.01, 0.002)), np.abs(around(0.01, 0.002))
        earlier += 0.22 * np.maximum(-x, 0) ** 1.5
        later += 0.3 * np.maximum(x, 0) ** 1.5
        earlier[0] = later[-1] = 0.0
        values |= {
            f"row_profiles.{sign}_row12": (row * (1 + 0.02 * rng.standard_normal(n))).tolist(),
            f"column_wise_weights_distortion.{sign}_row12": laws.T.tolist(),
            f"output_correction.{sign}": around(1.04, 0.018),
            f"pd_crosstalk.pd_{sign}_darkness": around(0.05, 0.01),
            f"pd_crosstalk.ratio_to_earlier_{sign}_row12": earlier.tolist(),
            f"pd_crosstalk.ratio_to_later_{sign}_row12": later.tolist(),
            f"pd_offset.pd_offset_{sign}_row12": around(0.0, 0.01),
        }
    table = "close_loop_offset_and_scale."
    values |= {
        "pbs_crosstalk.negative_to_positive": around(0.006, 0.001),
        "pbs_crosstalk.positive_to_negative": around(0.006, 0.001),
        table + "dc_offset": around(0.005, 0.009),
        table + "linear_offset": around(-2.5e-4, 1e-4),
        table + "readout_dc_offset": around(0.0, 1e-3),
        table + "readout_linear_offset": around(0.0, 1e-5),
        table + "scaling": around(0.73, 0.025),
        table + "scaling_second_order": around(0.0, 1e-3),
        table + "solution_to_adc_ratio": rng.uniform(1.9, 2.1),
        "open_loop_offset_and_scale.adc_offset": around(0.005, 0.009),
        "open_loop_offset_and_scale.linear_offset": around(-2.5e-4, 1e-4),
    }
    # parabolas that bend to 3 V and -3 V, then a cosine on either side; the gaps are a few millivolts
    gap = 5e-3 * rng.standard_normal(3)
    k, phase = -1 / (4.5 * 3.0), -4.0
    foot = -3.0 + np.cos(3.0) + gap[0]
    values |= {
        "saturation.piece0_start_stop": [-6.0, -4.5],
        "saturation.piece0_constant": foot,
        "saturation.piece0_cosine_coeff": k,
        "saturation.negative_saturation": float(foot - np.cos(1 / (k * -6.0))),
        "saturation.piece1_start_stop": [-4.5, -1.5],
        "saturation.piece1_polynomials": [1 / 6, 1.5, 0.375 + gap[1]],
        "saturation.piece3_start_stop": [2.0, 4.0],
        "saturation.piece3_polynomials": [0.0, 0.0, -0.25, 2.0, -1.0 + gap[2]],
        "saturation.piece4_start_stop": [4.0, 6.0],
        "saturation.piece4_first_constant": phase,
        "saturation.piece4_second_constant": 2.0,
        "saturation.positive_saturation": float(np.cos(6.0 + phase) + 2.0),
    }
    return {key: float(item) if isinstance(item, np.floating) else item for key, item in values.items()}


def _public_twin_file():
    path = Path(os.environ.get(TWIN_FILE_VARIABLE) or "/nowhere")
    return path if path.is_file() else None


@pytest.fixture(scope="session", params=["generated", *(["public"] if _public_twin_file() else [])])
def twin_file(request, tmp_path_factory):
    """Parameter files of measured machines: one made here, and the public one where the environment names it."""
    if request.param == "public":
        return _public_twin_file()
    found = measurement(plausible_measurement(7), "generated.yaml")
    return write_measurement(found, tmp_path_factory.mktemp("twin") / "generated.yaml")


@pytest.fixture(scope="session")
def measured_values():
    """measured_values(seed, n): values of a measured machine by dotted key."""
    return plausible_measurement


@pytest.fixture(scope="session")
def measured_machine():
    """measured_machine(seed, channels, serial, ROLE={ENTRY: text}): a machine of measured laws, made up at random.

    `channels` other than 48 stretches the 48 measured ones over the aperture.
    """

    @cache
    def build(seed, channels, serial, changes):
        overrides = {}
        for role, entry, text in changes:
            overrides.setdefault(role, {})[entry] = text
        spec = machine_spec(measurement(plausible_measurement(seed), "made up"), name="made_up")
        spec = replace(spec.with_overrides(overrides, _library().part), channels=channels)
        return Machine.build(spec, serial)

    def machine(seed=7, channels=48, serial=None, **overrides):
        return build(seed, channels, serial, _changes(overrides))

    return machine
