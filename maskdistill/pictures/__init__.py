"""Pictures from arrays: ``colors`` holds every palette, ``drawing`` and ``overlays`` draw layers over a photo, and
``derivation`` shows how a mask was made, step by step; ``show`` is what a notebook calls.
"""
