"""Masks that another tool or people made: read from its files, matched with the photos of a source, counted.

Nothing here knows a run: ``given_masks`` gives what ``maskdistill import`` writes into one.
"""
