"""What a run keeps on disk: its folder, its SQLite file, its progress, files for each photo.

Read ``run_folder`` first: it names every file of a run.
"""
