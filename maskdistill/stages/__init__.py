"""The stages of a run, each a function over many photos that leaves files and can be resumed.

Read ``stage_list`` (the order), ``chain`` (what is stale, and doing it), ``context`` (what a stage is given), then the
stages.
"""
