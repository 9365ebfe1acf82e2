"""One training loop for the models of both stages: seeded, resumable, on one or many devices.

Read ``task`` (what a model offers the loop), ``train`` (the entry point), ``loop``, ``optim``, ``checkpoint``.
"""
