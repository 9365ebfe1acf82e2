"""What people look at and decide: tables and sets of masks, the audit, their decisions."""
