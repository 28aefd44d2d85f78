"""Comparisons of the simulator with closed forms, other programs and measurements, one module a group of checks."""
