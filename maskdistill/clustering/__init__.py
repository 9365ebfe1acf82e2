"""The masks of all photos: from vectors to clusters, how many of them, and a map. The second idea."""
