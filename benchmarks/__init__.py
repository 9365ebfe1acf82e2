"""Benchmarks: one command each, a small table on standard output and the same as JSON."""
