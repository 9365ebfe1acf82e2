"""The Guide: the method in eight steps on one photo, for teaching.

``page`` puts it together; ``steps`` holds what each step shows. Their texts are the library's, in
``maskdistill.handouts``.
"""
