"""One photo: from its features to object masks with a score, the first idea of the method.

Read ``propose``, which puts the rest together: an engine (``normalized_cut`` or ``published_rule``), ``refinement``,
``crf``, ``scoring``.
"""
