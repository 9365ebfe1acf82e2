"""The published experiments, ready to run: what they need, fetched and laid out; the runs; a report beside the paper.

Read ``artifacts`` (files), ``fetch``, ``layout`` (folders as the readers take them), ``experiment`` (runs), ``report``.
"""
