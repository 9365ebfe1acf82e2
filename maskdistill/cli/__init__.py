"""The command ``maskdistill``, and the process that runs it as a background job.

Read ``main`` first (parser and commands), then ``flags``; ``job_command`` and ``job_worker`` are the jobs' side.
"""
