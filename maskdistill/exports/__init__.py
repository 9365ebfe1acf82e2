"""Files for other tools: ``exports.run`` reads a run, the formats write plain records to a folder.

A module for each format (``coco``, ``voc``, ``yolo``), and one for each thing that they share: ``records``, ``names``,
``photos``, ``folder``, ``polygons``.
"""
