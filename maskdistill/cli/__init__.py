"""The command line, and the process that does a command in the background."""
