"""Physical constants, CODATA by way of scipy, in SI."""

from __future__ import annotations

from scipy import constants

ELEMENTARY_CHARGE: float = constants.elementary_charge  # C
BOLTZMANN: float = constants.Boltzmann  # J/K
PLANCK: float = constants.Planck  # J s
SPEED_OF_LIGHT: float = constants.speed_of_light  # m/s


def thermal_voltage(temperature: float) -> float:
    """V_T = k T / q, in V, for a temperature in K (25.69 mV at 298.15 K)."""
    return BOLTZMANN * temperature / ELEMENTARY_CHARGE
