"""What-if studies: many runs of one scenario that differ in what is varied."""
