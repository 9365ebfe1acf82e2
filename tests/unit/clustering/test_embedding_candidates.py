import numpy as np
import pytest

from maskdistill.clustering.embedding_candidates import candidate_embeddings

COUNT, WIDTH = 5, 3


def vectors(*names, seed=0):
    return {
        name: np.random.default_rng([seed, number]).normal(size=(COUNT, WIDTH)).astype(np.float32) * 10**number
        for number, name in enumerate(names)
    }


def unit(values):
    return np.array([row / sum(value**2 for value in row) ** 0.5 for row in values])


def test_names_of_four_blocks_and_two_pooled_ones():
    raw = vectors(*(f"{kind}{block}" for kind in ("crop", "photo") for block in (12, 9)), "cls12", "cls11")
    raw |= vectors("cls10", "cls9", seed=1)
    found = candidate_embeddings(raw)
    spans = ["CLS 11", "CLS 12", "CLS 9-11", "CLS 10-12", "CLS 9-12"]
    ends = ["", " + patches 9", " + patches 9 of photo and crop"]
    assert list(found) == [span + end for span in spans for end in ends]
    widths = {"": 0, " + patches 9": WIDTH, " + patches 9 of photo and crop": 2 * WIDTH}
    for span, blocks in zip(spans, (1, 1, 3, 3, 4), strict=True):
        for end, more in widths.items():
            assert found[span + end].shape == (COUNT, blocks * WIDTH + more)


def test_parts_are_of_length_one_and_side_by_side():
    raw = vectors("cls9", "cls10", "cls11", "cls12", "photo9", "crop9", "photo12", "crop12")
    found = candidate_embeddings(raw)
    np.testing.assert_allclose(found["CLS 12"], unit(raw["cls12"]), rtol=1e-5)
    wanted = [unit(raw[name]) for name in ("cls9", "cls10", "cls11", "photo9", "crop9")]
    np.testing.assert_allclose(
        found["CLS 9-11 + patches 9 of photo and crop"], np.concatenate(wanted, axis=1), rtol=1e-5
    )
    np.testing.assert_allclose(found["CLS 11 + patches 9"], np.concatenate([unit(raw["cls11"]), wanted[3]], axis=1))


def test_without_pooled_vectors():
    assert list(candidate_embeddings(vectors("cls11", "cls12"))) == ["CLS 11", "CLS 12", "CLS 11-12"]


def test_blocks_that_are_not_neighbours_are_named_one_by_one():
    found = candidate_embeddings(vectors("cls3", "cls6", "cls12"))
    assert list(found) == ["CLS 6", "CLS 12", "CLS 3 and 6 and 12"]


@pytest.mark.parametrize(
    ("blocks", "names"),
    [
        ((4,), ["CLS 4"]),
        ((2, 1), ["CLS 1", "CLS 2", "CLS 1-2"]),
        ((8, 9, 10), ["CLS 9", "CLS 10", "CLS 8-10"]),
    ],
)
def test_few_blocks_give_each_combination_once(blocks, names):
    assert list(candidate_embeddings(vectors(*(f"cls{block}" for block in blocks)))) == names


def test_two_digit_blocks_are_in_order_of_number():
    assert "CLS 9-11" in candidate_embeddings(vectors("cls10", "cls11", "cls12", "cls9"))


def test_vector_of_zeros_stays_finite():
    raw = vectors("cls1", "photo1", "crop1")
    raw["photo1"][2] = 0
    found = candidate_embeddings(raw)["CLS 1 + patches 1"]
    assert np.isfinite(found).all()
    assert not found[2, WIDTH:].any()
