"""The command ``maskdistill``, and the process that runs it as a background job.

Read ``main`` first (the parser), then ``flags``; ``stages``, ``results``, ``status``, ``alternatives`` and ``jobs`` do what
the commands ask for; ``job_command`` and ``job_worker`` are the jobs' side.
"""
