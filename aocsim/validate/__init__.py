"""Comparisons of the simulator with things it was not made from, one module a group of checks."""
