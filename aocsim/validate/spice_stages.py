"""Single stages as circuits for ngspice: a pair of bipolar transistors and a transimpedance amplifier."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aocsim.components.photodetector import Photodetector
from aocsim.constants import BOLTZMANN
from aocsim.validate.check import SkippedError

Array = NDArray[np.float64]

ZERO_CELSIUS = 273.15  # K
FORWARD_GAIN = 416.4  # BF of the transistor below
TRANSISTOR = f"""\
.model transistor npn(is=6.734f xti=3 eg=1.11 vaf=74.03 bf={FORWARD_GAIN} ne=1.259 ise=6.734f ikf=66.78m
+ xtb=1.5 br=0.7371 nc=2 isc=0 ikr=0 rc=1 cjc=3.638p mjc=0.3085 vjc=0.75 fc=0.5 cje=4.493p mje=0.2593
+ vje=0.75 tr=239.5n tf=301.2p itf=0.4 vtf=4 xtf=2 rb=10)"""
"""2N3904, Gummel-Poon parameters of Fairchild Semiconductor's data sheet "2N3904 / MMBT3904 / PZT3904" (2001), section
"Spice Model". The sheet prints ISE without its "f", as SPICE 2 took a multiple of IS. Its emitter has no resistance."""

OPEN_LOOP_GAIN = 1e7  # of the operational amplifier at zero frequency


def transistor_pair(
    *,
    tail_current: float,
    emitter_resistance: float,
    load_resistance: float,
    temperature: float,
    base_voltages: Array,
) -> str:
    """A degenerated pair of bipolar transistors; DC sweep of the voltage between the bases.

    Collectors v(c1) and v(c2) hang on load resistors; v(d) is swept. The tail is an ideal source, the bases move
    symmetrically around 0 V, 10 V below the supply.

    Args:
        tail_current: I_EE, A.
        emitter_resistance: R_E in each emitter, ohm.
        load_resistance: R_L in each collector, ohm.
        temperature: of the junctions, K.
        base_voltages: equidistant, V, at least two.
    """
    low, high, step = base_voltages[0], base_voltages[-1], base_voltages[1] - base_voltages[0]
    return f"""\
* degenerated differential pair
{TRANSISTOR}
.temp {temperature - ZERO_CELSIUS:.12g}
.options reltol=1e-6 gmin=1e-15 abstol=1e-14
Vsupply cc 0 10
Vd d 0 0
E1 b1 0 d 0 0.5
E2 b2 0 d 0 -0.5
Q1 c1 b1 e1 transistor
Q2 c2 b2 e2 transistor
Rl1 cc c1 {load_resistance!r}
Rl2 cc c2 {load_resistance!r}
Re1 e1 tail {emitter_resistance!r}
Re2 e2 tail {emitter_resistance!r}
Itail tail 0 {tail_current!r}
.dc Vd {float(low)!r} {float(high + step / 4)!r} {float(step)!r}
.save v(d) v(c1) v(c2)
.end
"""


def transimpedance(detector: Photodetector, photocurrent: float, node: float) -> str:
    """Noise of a photodiode with its amplifier, at v(out), or with `node` behind the loop's pole.

    The photodiode is a junction in reverse whose saturation current is the photocurrent: it has its shot noise. The
    amplifier has one pole and a feedback capacitor that makes the stage a Butterworth low-pass at the sheet's f_T.
    The sheet's input capacitance is all that hangs on the summing node, the feedback capacitor included: so much
    e_n sees. e_n and i_n are the thermal noise of resistors, and no other part of the amplifier has any.

    Args:
        detector: shot_noise must be 1.
        photocurrent: A.
        node: pole of the node behind the stage, Hz; inf for none.

    Raises:
        SkippedError: a part of the noise is missing on the sheet, or no such amplifier can be built.
    """
    temperature, resistance = detector.noise_temperature, detector.feedback_resistance
    if not (detector.voltage_noise and detector.current_noise and temperature and detector.input_capacitance):
        raise SkippedError("the detector's sheet leaves out a part of the noise")
    if detector.shot_noise != 1:
        raise SkippedError("a junction's shot noise cannot be scaled")
    fourkt = 4 * BOLTZMANN * temperature
    natural = 2 * math.pi * detector.amplifier_bandwidth
    unity_gain = natural**2 * resistance * detector.input_capacitance  # rad/s
    feedback = (math.sqrt(2) / natural - 1 / unity_gain) / resistance
    if not 0 < feedback < detector.input_capacitance:
        raise SkippedError("no feedback capacitor makes this stage a Butterworth low-pass")
    pole = ""
    seen = "out"
    if math.isfinite(node):
        seen = "node"
        # a milliohm, so that the pole has no noise of its own
        pole = f"Rnode out node 1e-3\nCnode node 0 {1 / (2 * math.pi * node * 1e-3)!r}"
    return f"""\
* transimpedance stage
.options tnom={temperature - ZERO_CELSIUS:.12g} reltol=1e-6 gmin=1e-18
.temp {temperature - ZERO_CELSIUS:.12g}
Vreverse anode 0 -5
Dphoto anode sum photodiode
.model photodiode d(is={photocurrent!r} n=1)
Isignal 0 sum 0 ac 1
Cinput sum 0 {detector.input_capacitance - feedback!r}
Rfeedback sum out {resistance!r}
Cfeedback sum out {feedback!r}
Rvoltage plus 0 {detector.voltage_noise**2 / fourkt!r}
Rcurrent short 0 {fourkt / detector.current_noise**2!r}
Vcurrent short 0 0
Fcurrent sum 0 Vcurrent 1
Gamplifier 0 inside plus sum 1
Gleak inside 0 inside 0 {1 / OPEN_LOOP_GAIN!r}
Camplifier inside 0 {1 / unity_gain!r}
Eoutput out 0 inside 0 1
{pole}
.noise v({seen}) Isignal dec 50 1 100g 1
.end
"""
