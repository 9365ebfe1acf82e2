import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from maskdistill.config import ProposalConfig
from maskdistill.masks import mask_iou
from maskdistill.proposals.guided_filter import GuidedFilter
from maskdistill.proposals.pool import (
    ChoiceRule,
    Pool,
    choose,
    describe_pool,
    join_views,
    make_pool,
    score_pool,
    suppress,
)
from maskdistill.proposals.pool_masks import choose_masks, find_view, score_views, sharpen
from maskdistill.proposals.tree import drop_doubles, grow_parts, join_parts, pairwise_iou

GRID = (12, 18)
BOXES = {1: (1, 1, 4, 5), 2: (2, 9, 5, 4), 3: (8, 3, 3, 6), 4: (8, 12, 3, 4)}  # label: top, left, rows, cols


def draw_blocks(grid=GRID, boxes=BOXES):
    labels = np.zeros(grid, int)
    for label, (top, left, rows, cols) in boxes.items():
        labels[top : top + rows, left : left + cols] = label
    return labels


def plant(labels, seed=0, noise=0.15):
    """Unit vectors: one direction for each block, more alike in pairs than to the ground."""
    generator = np.random.default_rng(seed)
    count = labels.max() + 1
    directions = np.eye(count, 8)
    directions[3], directions[4] = directions[1] + 0.6 * directions[3], directions[2] + 0.6 * directions[4]
    vectors = directions[labels.ravel()] + noise * generator.standard_normal((labels.size, 8))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def pool_of(labels, seed=0, **options):
    vectors = plant(labels, seed)
    return make_pool(vectors, vectors, labels.shape, options.get("depth", 6), options.get("size", 150), (1.0, 1.0))


def boxes_on(grid, *boxes):
    shapes = np.zeros((len(boxes), *grid), bool)
    for shape, (top, left, rows, cols) in zip(shapes, boxes, strict=True):
        shape[top : top + rows, left : left + cols] = True
    return shapes


def test_pool_with_joins_holds_every_block_too():
    labels = draw_blocks()
    vectors = plant(labels)
    cuts, both = (make_pool(vectors, vectors, GRID, 1, 500, (1.0, 1.0), joins=joins) for joins in (False, True))
    assert len(both) > len(cuts)
    for label in BOXES:
        assert max(mask_iou(mask, labels == label) for mask in both.masks) > 0.85


class TestTree:
    @pytest.mark.parametrize("seed", range(3))
    def test_finds_each_block(self, seed):
        labels = draw_blocks()
        parts = grow_parts(plant(labels, seed), GRID, 6)
        for label in BOXES:
            assert max(mask_iou(part, labels == label) for part in parts) > 0.85

    def test_one_cut_finds_fewer_than_many(self):
        vectors = plant(draw_blocks())
        assert 0 < len(grow_parts(vectors, GRID, 1)) < len(grow_parts(vectors, GRID, 4))

    def test_parts_are_connected_large_enough_and_no_two_alike(self):
        parts = grow_parts(plant(draw_blocks(), noise=0.6), GRID, 6)
        assert parts.sum(axis=(1, 2)).min() >= 3
        overlaps = pairwise_iou(parts, parts) - np.eye(len(parts))
        assert overlaps.max() <= 0.9

    def test_photo_of_few_patches_has_none(self):
        assert grow_parts(np.ones((4, 2), np.float32) / np.float32(np.sqrt(2)), (2, 2), 6).shape == (0, 2, 2)

    def test_patches_that_are_all_alike(self):
        assert len(grow_parts(np.ones((60, 1), np.float32), (6, 10), 3)) >= 0

    @pytest.mark.parametrize("seed", range(3))
    def test_joins_find_each_block_too(self, seed):
        labels = draw_blocks()
        parts = join_parts(plant(labels, seed), GRID)
        for label in BOXES:
            assert max(mask_iou(part, labels == label) for part in parts) > 0.85

    def test_joined_parts_are_connected_large_enough_and_no_two_alike(self):
        parts = join_parts(plant(draw_blocks(), noise=0.6), GRID)
        assert all(ndimage.label(part)[1] == 1 for part in parts)
        assert parts.sum(axis=(1, 2)).min() >= 3
        assert not parts.all(axis=(1, 2)).any()
        assert (pairwise_iou(parts, parts) - np.eye(len(parts))).max() <= 0.9

    @pytest.mark.parametrize("grid", [(1, 1), (1, 2), (2, 1), (1, 7)])
    def test_joins_of_few_patches(self, grid):
        assert join_parts(np.ones((grid[0] * grid[1], 2), np.float32), grid).shape[1:] == grid

    def test_first_of_doubles_stays(self):
        first, second = boxes_on((20, 20), (0, 0, 10, 10), (0, 0, 10, 11))
        np.testing.assert_array_equal(drop_doubles(np.array([first, second, first])), [first])


class TestPool:
    def test_twice_the_same(self):
        first, second = (pool_of(draw_blocks()).to_arrays() for _ in range(2))
        for name, values in first.items():
            np.testing.assert_array_equal(values, second[name])

    def test_stored_pool_is_the_same_pool(self):
        pool = join_views(pool_of(draw_blocks()), pool_of(draw_blocks(), seed=1))[0]
        back = Pool.from_arrays(pool.to_arrays())
        assert back.grid == GRID
        for name in ("masks", "values", "area", "contrast", "border", "agreement"):
            np.testing.assert_array_equal(getattr(back, name), getattr(pool, name))

    def test_at_most_so_many_the_best_ones(self):
        everything, few = pool_of(draw_blocks()), pool_of(draw_blocks(), size=3)
        assert len(few) == 3
        np.testing.assert_array_equal(few.masks, everything.masks[:3])

    def test_refined_map_mends_a_candidate(self):
        """A block of which the tree's part lacks a corner gets that corner back."""
        labels = draw_blocks()
        pool = pool_of(labels)
        for label in BOXES:
            best = max(mask_iou(values > 0, labels == label) for values in pool.values)
            assert best > 0.9

    def test_empty_pool(self):
        pool = make_pool(np.ones((4, 1), np.float32), np.ones((4, 1), np.float32), (2, 2), 6, 150, (1.0, 1.0))
        assert len(Pool.from_arrays(pool.to_arrays())) == 0
        assert len(score_pool(join_views(pool, pool)[0])) == 0
        found = choose_masks(None, join_views(pool, None), None, None, (20, 20), ProposalConfig())
        assert found.masks == ()

    def test_other_view_of_other_size_agrees(self):
        larger = np.kron(draw_blocks(), np.ones((2, 2), int))
        first, second = join_views(pool_of(draw_blocks()), pool_of(larger, seed=5))
        for pool in (first, second):
            labels = draw_blocks() if pool is first else larger
            for label in BOXES:
                place = int(np.argmax([mask_iou(mask, labels == label) for mask in pool.masks]))
                assert pool.agreement[place] > 0.6

    def test_view_that_is_not_turned_back_does_not_agree(self):
        labels = draw_blocks()
        seen, right = pool_of(labels[:, ::-1].copy(), seed=3), pool_of(labels)
        wrong, turned = join_views(right, seen)[0], join_views(right, seen.mirrored())[0]
        assert turned.agreement[:4].mean() > wrong.agreement[:4].mean() + 0.2

    def test_without_another_view_agreement_is_not_part_of_the_score(self):
        (pool,) = join_views(pool_of(draw_blocks()), None)
        assert np.isnan(pool.agreement).all()
        assert "pool_agreement" not in describe_pool(pool)

    def test_score_is_the_product_of_its_parts(self):
        probability = np.full(GRID, 0.2, np.float32)
        probability[draw_blocks() == 2] = 0.9
        pool = join_views(pool_of(draw_blocks()), pool_of(draw_blocks(), seed=1))[0]
        parts = describe_pool(pool, probability)
        assert set(parts) == {f"pool_{name}" for name in ("inside", "edge", "agreement", "contrast", "size", "border")}
        np.testing.assert_allclose(score_pool(pool, probability), np.prod(list(parts.values()), axis=0))
        best = pool.masks[score_pool(pool, probability).argmax()]
        assert mask_iou(best, draw_blocks() == 2) > 0.8

    def test_foreground_is_read_on_the_grid_of_each_view(self):
        larger = np.kron(draw_blocks(), np.ones((2, 2), int))
        pools = join_views(pool_of(draw_blocks()), pool_of(larger, seed=5))
        probability = np.where(draw_blocks() == 3, np.float32(0.9), np.float32(0.1))
        for pool, scores, labels in zip(pools, score_views(pools, probability), (draw_blocks(), larger), strict=True):
            assert mask_iou(pool.masks[scores.argmax()], labels == 3) > 0.8


class TestSuppress:
    def test_worse_ones_that_overlap_go(self):
        overlaps = np.array([[1, 0.8, 0.1], [0.8, 1, 0.2], [0.1, 0.2, 1]])
        assert suppress(overlaps, np.array([0.5, 0.9, 0.2]), 0.5) == [1, 2]
        assert suppress(overlaps, np.array([0.5, 0.9, 0.2]), 0.85) == [1, 0, 2]
        assert suppress(overlaps, np.array([0.5, 0.9, 0.0]), 0.85) == [1, 0]
        assert suppress(overlaps, np.array([0.5, 0.9, 0.2]), 0.5, limit=1) == [1]


class TestChoice:
    SHAPES = boxes_on((20, 30), (2, 2, 8, 8), (2, 16, 8, 8), (12, 2, 6, 6), (2, 2, 8, 22))
    FIRST, SECOND, THIRD, BOTH = range(4)

    def take(self, scores, first=None, limit=10, **rule):
        rule = {"share": 0.35, "share_beside": 0.35, "least_iou": 0.5, **rule}
        return choose(self.SHAPES, np.array(scores), first, ChoiceRule(**rule), limit)

    def test_photos_mask_stays_where_the_best_candidate_is_the_same(self):
        found = self.take([0.9, 0.1, 0.1, 0.05], boxes_on((20, 30), (2, 2, 8, 7))[0])
        assert found.keeps_first
        assert found.candidates == ()

    def test_further_ones_beside_it(self):
        found = self.take([0.9, 0.5, 0.1, 0.5], boxes_on((20, 30), (2, 2, 8, 7))[0])
        assert found.keeps_first
        assert found.candidates == (self.SECOND,)

    def test_mask_of_several_objects_gives_way(self):
        found = self.take([0.9, 0.8, 0.5, 0.4], self.SHAPES[:3].any(axis=0))
        assert not found.keeps_first
        assert found.candidates == (self.FIRST, self.SECOND, self.THIRD)

    def test_beside_a_mask_that_stays_more_is_asked(self):
        scores, first = [0.9, 0.3, 0.3, 0.1], self.SHAPES[0]
        assert self.take(scores, first, share=0.2, share_beside=0.5).candidates == ()
        assert self.take(scores, share=0.2, share_beside=0.5).candidates == (self.FIRST, self.SECOND, self.THIRD)

    def test_mask_that_is_less_like_the_best_gives_way(self):
        first = boxes_on((20, 30), (2, 2, 8, 6))[0]
        assert self.take([0.9, 0.1, 0.1, 0.05], first, least_iou=0.7).keeps_first
        assert not self.take([0.9, 0.1, 0.1, 0.05], first, least_iou=0.8).keeps_first

    def test_mask_that_stays_in_any_case(self):
        found = self.take([0.1, 0.9, 0.2, 0.1], self.SHAPES[0], least_iou=0.0)
        assert found.keeps_first
        assert found.candidates == (self.SECOND,)

    def test_whole_of_what_was_taken_is_no_further_object(self):
        assert self.BOTH not in self.take([0.9, 0.8, 0.5, 0.85]).candidates

    def test_part_of_what_was_taken_is_no_further_object(self):
        assert self.take([0.5, 0.5, 0.1, 0.9]).candidates == (self.BOTH,)

    def test_no_mask_before(self):
        assert self.take([0.1, 0.9, 0, 0]).candidates == (self.SECOND,)
        assert not self.take([0.1, 0.9, 0, 0], np.zeros((20, 30), bool)).keeps_first

    def test_nothing_in_the_pool_that_counts(self):
        found = self.take([0, 0, 0, 0], self.SHAPES[0])
        assert found.keeps_first
        assert found.candidates == ()

    def test_limit(self):
        assert len(self.take([0.9, 0.8, 0.7, 0.1], limit=2).candidates) == 2


class TestMasks:
    def test_sharpened_mask_follows_the_photo(self):
        pixels = np.full((96, 144, 3), 40, np.uint8)
        pixels[20:60, 30:80] = 200
        values = np.full((12, 18), -1, np.float32)
        values[2:8, 3:10] = 1
        mask = GuidedFilter(Image.fromarray(pixels), (96, 144)).sharpen(values)
        truth = pixels[..., 0] > 100
        plain = np.kron(values > 0, np.ones((8, 8), bool))
        assert mask_iou(mask, truth) > max(0.9, mask_iou(plain, truth))

    def test_small_decoding_of_a_large_photo(self):
        image = Image.new("RGB", (72, 48), "red")
        values = np.where(boxes_on((12, 18), (3, 4, 6, 8))[0], np.float32(1), np.float32(-1))
        assert GuidedFilter(image, (480, 720)).sharpen(values).shape == (480, 720)

    @pytest.mark.parametrize("size", [(479, 640), (37, 51), (3, 200)])
    def test_only_the_part_around_a_mask_is_worked_on_and_the_mask_is_the_same(self, size, monkeypatch):
        generator = np.random.default_rng(size[0])
        guide = GuidedFilter(Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)), size)
        maps = []
        for box in ((0, 0, 5, 5), (20, 30, 24, 40), (40, 55, 48, 64), (10, 10, 11, 11), (0, 0, 48, 64)):
            inside = boxes_on((48, 64), box)[0]
            maps.append(np.where(inside, np.float32(1), np.float32(-1)) + generator.normal(0, 0.1, (48, 64)))
        partly = [guide.sharpen(values) for values in maps]
        assert not guide.sharpen(np.full((48, 64), -1, np.float32)).any()
        monkeypatch.setattr(guide, "_reach", lambda *_: [(0, guide.height), (0, guide.width)])
        for values, mask in zip(maps, partly, strict=True):
            np.testing.assert_array_equal(mask, guide.sharpen(values))

    def test_masks_of_the_second_view_are_numbered_on(self):
        pools = join_views(pool_of(draw_blocks()), pool_of(draw_blocks(), seed=1))
        number = len(pools[0])
        assert find_view(pools, number) == (1, 0)
        (item,) = sharpen([number], pools, None, None, (96, 144))
        assert item.number == number
        assert 0 < item.score <= 1
        with pytest.raises(IndexError, match="no candidate"):
            find_view(pools, sum(map(len, pools)))
