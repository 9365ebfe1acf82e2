"""The Training page: the stages of a run, a form for each, the job at work, and earlier jobs."""
