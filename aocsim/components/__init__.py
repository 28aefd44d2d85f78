"""The machine's parts, one module a law: frozen dataclasses of SI numbers, pure functions, loop stages."""
