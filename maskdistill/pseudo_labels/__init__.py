"""From the first model's predictions to label maps: the third idea of the method.

Read ``candidates`` (signals of each mask), ``filter`` (which are kept), ``label_maps`` (painting); the other modules
serve the Filter page and new photos.
"""
