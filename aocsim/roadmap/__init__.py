"""The scaling roadmap: time, energy, light and bits from the sheets that drive the physics."""
