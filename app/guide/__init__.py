"""The Guide: the method in eight steps on one photo, for teaching.

``page`` puts it together; ``steps`` holds what each step shows, ``texts`` what it says.
"""
