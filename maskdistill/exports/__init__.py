"""Files for other tools: ``exports.run`` reads a run, the formats write plain records to a folder.

A module for each format (``coco``, ``voc``, ``yolo``, ``huggingface``, ``atlas``; ``onnx_model`` with ``onnx_graph``),
and one for each thing that they share: ``records``, ``names``, ``photos``, ``folder``, ``polygons``.
"""
