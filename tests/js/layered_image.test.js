import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.js";

const names = ["placePhoto", "patchAt", "patchBox", "patchCenter", "nextPatch", "splitByKey", "lookupTable"];
names.push(
  "nextView",
  "listedMasks",
  "differences",
  "colorLabels",
  "shrinkLabels",
  "labelAt",
  "classShares",
  "percent",
);
const it = load(["components/layered_image_labels.js"], names);
const plain = (value) => JSON.parse(JSON.stringify(value));
const GRID = { rows: 3, cols: 4, fx: 1, fy: 1.2 }; // the last row reaches beyond the photo
const TABLE = {
  0: { name: "background", colour: "", key: "background" },
  1: { name: "cluster 1", colour: "#102030", key: "class 1" },
  2: { name: "cluster 2", colour: "#FF0000", key: "class 2" },
  255: { name: "no label", colour: "#969696", key: "" },
};
const TRUTH = { 0: TABLE[0], 2: { name: "cow", colour: "#102030", key: "class 1" }, 255: TABLE[255] };
const map = (labels, width) => ({ labels: Uint8Array.from(labels), width, height: labels.length / width });

function lookups() {
  const keys = new Map([["background", 0]]);
  return [it.lookupTable(TABLE, keys), it.lookupTable(TRUTH, keys)];
}

test("a whole photo stands in the middle of its frame", () => {
  assert.deepEqual(plain(it.placePhoto([400, 200], [200, 200], null)), { x: 100, y: 0, width: 200, height: 200 });
});

test("a photo enlarged to a box has the box in view, and no gap at its edges", () => {
  const place = it.placePhoto([400, 400], [200, 200], [150, 150, 50, 50]);
  const scale = place.width / 200;
  assert.ok(scale > 2 && scale <= 16);
  assert.ok(Math.abs(place.x + place.width - 400) < 1e-9);
  assert.ok(place.x + 150 * scale >= 0);
  assert.equal(it.placePhoto([400, 400], [200, 200], [10, 10, 1, 1]).width, 400 * 8);
});

test("the key leads through all views that show something", () => {
  const [masks, foreground, none] = [{ layers: [1] }, { layers: [2, 3] }, { layers: [] }];
  assert.deepEqual(
    [0, 1, 2].map((place) => it.nextView(place, [masks, foreground, masks])),
    [1, 2, 0],
  );
  assert.deepEqual(
    [0, 1].map((place) => it.nextView(place, [masks, foreground, none])),
    [1, 0],
  );
  assert.equal(it.nextView(0, [{ layers: [] }, masks]), 1);
});

test("masks are listed with the scores of the view on show", () => {
  const [before, after, map] = [{ name: "Mask 1", score: "0.50" }, { name: "Mask 1", score: "0.70" }, { name: "" }];
  const views = [{ layers: [before] }, { layers: [after, map] }, { layers: [map] }];
  assert.deepEqual(
    views.map((view) => plain(it.listedMasks(view, views))),
    [[before], [after], [before]],
  );
});

test("a point is in the patch whose middle leads back to it", () => {
  for (let row = 0; row < 2; row += 1) {
    for (let col = 0; col < 4; col += 1) {
      assert.deepEqual(plain(it.patchAt(it.patchCenter([row, col], GRID), GRID)), [row, col]);
    }
  }
  assert.deepEqual(plain(it.patchAt([1, 1], GRID)), [2, 3]);
  assert.deepEqual(plain(it.patchAt([-0.1, 2], GRID)), [2, 0]);
});

test("patches fill the grid in percent of the photo", () => {
  assert.deepEqual(plain(it.patchBox([0, 3], GRID)), [75, 0, 25, 40]);
  assert.equal(it.patchBox([1, 1], GRID, 0.5)[2], 50);
});

test("arrow keys lead to the patch beside, and stay on the grid", () => {
  assert.deepEqual(plain(it.nextPatch("ArrowRight", [0, 0], GRID)), [0, 1]);
  assert.deepEqual(plain(it.nextPatch("ArrowUp", [0, 0], GRID)), [0, 0]);
  assert.equal(it.nextPatch("a", [0, 0], GRID), null);
});

test("keys move the border within the picture", () => {
  assert.equal(it.splitByKey("ArrowRight", 50), 52);
  assert.equal(it.splitByKey("PageDown", 5), 0);
  assert.equal(it.splitByKey("End", 5), 100);
  assert.equal(it.splitByKey("x", 5), null);
});

test("maps differ where both are known and mean different things, whatever their numbers", () => {
  const maps = [map([0, 1, 1, 255, 2], 5), map([0, 2, 0, 0, 255], 5)];
  assert.deepEqual([...it.differences(maps, lookups())], [0, 0, 1, 0, 0]);
});

test("labels take the colours of their table", () => {
  const pixels = it.colorLabels(Uint8Array.of(0, 1, 255, 7), lookups()[0]);
  assert.deepEqual([...pixels.slice(0, 8)], [0, 0, 0, 0, 16, 32, 48, 255]);
  assert.deepEqual([...pixels.slice(8)], [150, 150, 150, 110, 255, 255, 255, 255]);
});

test("one class alone, and differences alone", () => {
  const [lookup] = lookups();
  const opacities = (...options) =>
    [...it.colorLabels(Uint8Array.of(1, 2, 0), lookup, ...options)].filter((_, n) => n % 4 === 3);
  assert.deepEqual(opacities(null, "class 2"), [0, 255, 0]);
  assert.deepEqual(opacities(Uint8Array.of(0, 1, 1)), [0x73, 255, 0xb0]);
});

test("a small map keeps labels as they are", () => {
  const small = it.shrinkLabels(map([1, 1, 2, 2, 1, 1, 2, 2], 4), 2);
  assert.deepEqual([small.width, small.height, ...small.labels], [2, 1, 1, 2]);
  assert.equal(it.shrinkLabels(map([1, 2], 2), 9).width, 2);
});

test("the label at a point", () => {
  const four = map([1, 2, 3, 4], 2);
  assert.deepEqual([it.labelAt([0, 0], four), it.labelAt([1, 0.2], four), it.labelAt([0.6, 1], four)], [1, 2, 4]);
});

test("shares of both sides stand together where they mean the same, under the cluster's name", () => {
  const rows = it.classShares([map([2, 2, 0, 255], 4), map([1, 2, 0, 0], 4)], lookups().reverse(), [true, false]);
  assert.deepEqual(plain(rows.map((row) => [row.name, row.shares])), [
    ["cluster 1", [0.5, 0.25]],
    ["no label", [0.25, 0]],
    ["cluster 2", [0, 0.25]],
  ]);
});

test("small shares are not rounded to nothing", () => {
  assert.deepEqual([0, 0.0001, 0.05, 0.5].map(it.percent), ["0 %", "< 0.1 %", "5.0 %", "50 %"]);
});
