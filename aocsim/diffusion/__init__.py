"""Analog diffusion models: network, block operator, samplers, data sets and training."""
