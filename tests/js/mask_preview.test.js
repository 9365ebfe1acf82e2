import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.js";

const it = load(["components/mask_preview.js"], ["signedMask", "clickKernel", "wayToBorder", "previewCells", "cellAt"]);
const ROWS = 4;
const COLS = 6;
// Two kinds of patches: the left half and the right half; only patches of one kind are alike.
const kind = (cell) => (cell % COLS < COLS / 2 ? 0 : 1);
const COUNT = ROWS * COLS;
const alike = Uint8Array.from({ length: COUNT * COUNT }, (_, pair) =>
  kind(Math.floor(pair / COUNT)) === kind(pair % COUNT) ? 255 : 0,
);
const field = { rows: ROWS, cols: COLS, alike, reach: 2.5, least_way: 0.01, noise: 0.05, size: [60, 40] };
const set = (cells) => [...cells].flatMap((value, cell) => (value ? [cell] : []));
const half = (number) => Array.from({ length: COUNT }, (_, cell) => cell).filter((cell) => kind(cell) === number);

test("a click beside the mask adds what is like it", () => {
  const prior = it.signedMask(new Uint8Array(COUNT));
  assert.deepEqual(set(it.previewCells(prior, 5, true, false, field)), half(1));
});

test("a click inside takes away what is like it and in the mask", () => {
  const prior = it.signedMask(Uint8Array.from({ length: COUNT }, (_, cell) => (cell < 2 * COLS ? 255 : 0)));
  const found = set(it.previewCells(prior, 0, false, false, field));
  assert.deepEqual(
    found,
    half(0).filter((cell) => cell < 2 * COLS),
  );
});

test("only the connected part, unless everywhere", () => {
  const apart = Uint8Array.from({ length: COUNT }, (_, cell) => (cell % COLS === 1 ? 255 : 0));
  const prior = it.signedMask(apart); // a bar parts the left half in two
  const far = { ...field, reach: 50 };
  const near = set(it.previewCells(prior, 0, true, false, far));
  const all = set(it.previewCells(prior, 0, true, true, far));
  assert.deepEqual(near, [0, 6, 12, 18]);
  assert.deepEqual(all, [0, 2, 6, 8, 12, 14, 18, 20]);
});

test("nearness counts by the way to the border, in the photo's shorter side", () => {
  const down = 1 / ROWS; // one row, of a side of 1
  const prior = it.signedMask(Uint8Array.from({ length: COUNT }, (_, cell) => (cell >= 2 * COLS ? 255 : 0)));
  const way = it.wayToBorder(prior, 0, field);
  assert.ok(Math.abs(way - 2 * down) < 1e-6);
  const kernel = it.clickKernel(0, way, field);
  assert.ok(Math.abs(kernel[0] - 1) < 1e-6);
  assert.ok(Math.abs(kernel[COLS] - Math.exp(-(down * down) / (2 * (2.5 * way) ** 2))) < 1e-6);
});

test("the cell under a point, at the borders too", () => {
  assert.equal(it.cellAt([0, 0], field), 0);
  assert.equal(it.cellAt([1, 1], field), COUNT - 1);
  assert.equal(it.cellAt([0.5, 0.26], field), COLS + 3);
});
