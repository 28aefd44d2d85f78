"""Scenarios: what a study file may say, and how each kind of study is run."""
