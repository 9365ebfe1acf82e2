"""The stages of a run: each a library function over many photos, one artifact on disk, resumable."""
