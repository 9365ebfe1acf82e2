"""From the masks of all photos to clusters, their number, and a map: the second idea of the method.

Read ``mask_embeddings``, ``embedding_space``, ``model_selection`` (choices without labels), ``kmeans``, ``consensus``,
``find_clusters``; then what people work with: ``alternatives``, ``compare_clusterings``, ``neighbors``, ``projection``.
"""
