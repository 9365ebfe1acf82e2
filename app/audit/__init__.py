"""The Audit page: masks one by one, accepted, rejected or relabeled by key.

``queue`` chooses the order, ``review_session`` is one person's place in it, ``label_store`` holds everyone's labels,
``annotator`` is the component.
"""
