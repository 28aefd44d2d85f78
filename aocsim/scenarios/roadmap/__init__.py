"""Scenarios of the scaling roadmap: a machine's ledger, projections and limits."""
