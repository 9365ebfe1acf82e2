"""Odd input of every kind, drawn by a seed, with what must come of it.

A module a kind. Each has ``VARIETIES``: name -> function that makes one case in an empty folder and returns the
attempt to use it. ``benchmarks.faults`` tries them in processes of their own.
"""
