"""The Clusters page: a map of all masks, the selection on it, the table of clusters, alternative clusterings."""
