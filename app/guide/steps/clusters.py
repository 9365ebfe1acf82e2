"""Step 5: the photo's mask among the clusters of a run's masks."""

from collections.abc import Sequence

import numpy as np

from app import photo_cache, selection, session
from app.components.image_grid import Tile, TileGroup, grouped_images
from app.guide.mask_detail import open_detail
from app.guide.photo_results import TrainedRun
from app.guide.step_context import StepContext
from app.images.crops import crop_url
from maskdistill.clustering.neighbors import nearest_to
from maskdistill.pictures import drawing, overlays
from maskdistill.pictures.colors import cluster_color

NUM_TILES = 12
_CROP = 480  # pixels


def draw_clusters(context: StepContext) -> str:
    """The mask beside the most similar ones, or beside the most typical ones of a cluster."""
    trained, photo_on_run = context.on_run
    places = photo_on_run.cluster_positions()
    own, chosen = int(places.clusters[0]), chosen_cluster(trained)
    rows, cosines = _typical(trained, chosen) if chosen else _nearest(context, places.vectors[0])
    tiles = [_tile(trained, int(row), cosine) for row, cosine in zip(rows, cosines, strict=True)]
    groups = [TileGroup([_own_tile(context, own)]), TileGroup(tiles)]
    grouped_images(groups, key="guide:board", layout="board", on_open=open_detail)
    cluster = trained.decision_view.cluster[trained.masks.row_of_vector]
    members, total = np.count_nonzero(cluster == own), np.count_nonzero(cluster)
    after = "; the photo's mask is as the run's foreground corrects it" if photo_on_run.is_corrected else ""
    return f"{trained.decision_view.name_of(own).capitalize()} holds {members:,} of the run's {total:,} masks{after}"


def chosen_cluster(trained_run: TrainedRun) -> int:
    """The cluster to show; 0 for the most similar masks."""
    cluster = selection.current().cluster
    if cluster and cluster not in clusters_of(trained_run):
        session.notify(f"The run {trained_run.run.name} has no mask in cluster {cluster}.")
        selection.select(cluster=0)
        return 0
    return cluster


def clusters_of(trained_run: TrainedRun) -> list[int]:
    """Numbers of the clusters that hold a mask."""
    found = np.unique(trained_run.decision_view.cluster[trained_run.masks.row_of_vector]).tolist()
    return [cluster for cluster in found if cluster]


def _nearest(context: StepContext, vector: np.ndarray) -> tuple[np.ndarray, Sequence[float | None]]:
    """Rows of the most similar masks, without those of the photo itself, and their cosines."""
    trained, _ = context.on_run
    if trained.masks.vectors is None:
        return np.empty(0, np.int64), []
    found, cosines = nearest_to(trained.masks.vectors, vector, NUM_TILES + trained.masks.run.masks_per_photo)
    rows = trained.masks.row_of_vector[found]
    others = trained.masks.frame["image"].to_numpy()[rows] != trained.number_of(context.photo)
    return rows[others][:NUM_TILES], cosines[others][:NUM_TILES].tolist()


def _typical(trained_run: TrainedRun, cluster: int) -> tuple[np.ndarray, Sequence[float | None]]:
    rows = trained_run.masks.row_of_vector
    rows = rows[trained_run.decision_view.cluster[rows] == cluster]
    distances = trained_run.masks.frame["distance"].to_numpy()[rows]
    rows = rows[np.argsort(distances, kind="stable")][:NUM_TILES]
    return rows, [None] * len(rows)


def _tile(trained_run: TrainedRun, row: int, cosine: float | None) -> Tile:
    mask_id, image_id = (trained_run.masks.frame[name].to_numpy()[row] for name in ("mask_id", "image_id"))
    cluster = int(trained_run.decision_view.cluster[row])
    name = trained_run.decision_view.name_of(cluster) if cluster else "no cluster"
    like = "" if cosine is None else f"cosine {cosine:.2f}"
    title = ", ".join(part for part in (f"{image_id}: {name}", like) if part)
    src = crop_url(trained_run.masks, int(mask_id))
    return Tile(int(mask_id), src, name, color=cluster_color(cluster), title=title)


def _own_tile(context: StepContext, cluster: int) -> Tile:
    trained, photo_on_run = context.on_run
    color = cluster_color(cluster)
    crop = overlays.crop_with_outline(photo_cache.pixels(context.photo), photo_on_run.masks[0], color, _CROP)
    name = trained.decision_view.name_of(cluster)
    title = f"The mask of {context.photo.id}: {name}"
    return Tile(None, drawing.jpeg_url(crop), f"This mask: {name}", color=color, title=title)
