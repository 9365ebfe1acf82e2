"""The command ``maskdistill``, and the process that runs it as a background job.

Read ``main`` first (the parser), then ``flags``. What the commands ask for is done by ``stages``, ``results``,
``status``, ``alternatives`` and ``jobs``; ``job_command`` and ``job_worker`` are the jobs' side.
"""
