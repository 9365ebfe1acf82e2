"""The editor that mends a mask, from any page: clicks, parts, others to choose from, split, join, new, brush."""
