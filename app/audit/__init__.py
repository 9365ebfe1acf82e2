"""The Audit page: one mask after the other, judged by key."""
