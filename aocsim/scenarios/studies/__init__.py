"""Studies: one thing is varied, on the machine or digitally, and what becomes of the samples is measured."""
