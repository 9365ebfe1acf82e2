"""People's review of masks: a table of all masks, sets of masks, the audit's queue, decisions."""
