"""Calibration: from what a bench shows to a digital twin with error bars."""
