"""Solvers: time integration, steady states, linearised noise. They know stages, never parts."""
