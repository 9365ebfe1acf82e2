"""What a run keeps on disk: its folder, its SQLite file, its progress, one file a photo."""
