import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.js";

const FILES = ["components/_base.js", "images/sent_images.js", "components/image_grid.js"];
const NAMES = ["nextPlace", "tabStops", "between", "scrollToShow", "tableRows"];
const WORLD = { document: { addEventListener() {} }, addEventListener() {}, location: { pathname: "/" } };
const { nextPlace, tabStops, between, scrollToShow, tableRows } = load(FILES, NAMES, WORLD);

// Tiles of 10 pixels in rows of that many columns.
function grid(count, columns) {
  return () =>
    Array.from({ length: count }, (_, place) => ({
      left: 12 * (place % columns),
      top: 12 * Math.floor(place / columns),
      width: 10,
    }));
}

test("left, right, home and end follow the order of the tiles", () => {
  const boxes = grid(7, 3);
  const places = ["ArrowRight", "ArrowLeft", "Home", "End"].map((key) => nextPlace(key, 3, boxes));
  assert.deepEqual(places, [4, 2, 0, 6]);
  assert.equal(nextPlace("a", 3, boxes), undefined);
});

test("up and down stay in the column, and the last row that is not full is reached too", () => {
  const boxes = grid(7, 3);
  assert.equal(nextPlace("ArrowDown", 1, boxes), 4);
  assert.equal(nextPlace("ArrowUp", 4, boxes), 1);
  assert.equal(nextPlace("ArrowDown", 5, boxes), 6);
  assert.equal(nextPlace("ArrowDown", 6, boxes), undefined);
  assert.equal(nextPlace("ArrowUp", 2, boxes), undefined);
});

test("nothing lies above or below in a strip", () => {
  assert.equal(nextPlace("ArrowDown", 1, grid(5, 5)), undefined);
});

test("Tab reaches one tile of each group, the active one of its own", () => {
  assert.deepEqual([...tabStops(["a", "a", "a", "b", "b"], 1)], [1, 3]);
  assert.deepEqual([...tabStops([], 0)], []);
});

test("a range is the same from either end", () => {
  assert.deepEqual([...between(["a", "b", "c", "d"], 1, 2)], ["b", "c"]);
  assert.deepEqual([...between(["a", "b", "c", "d"], 2, 1)], ["b", "c"]);
});

test("a strip is scrolled only if the tile is out of sight", () => {
  const box = { scrollLeft: 100, clientWidth: 200 };
  assert.equal(scrollToShow(150, 50, box), 100);
  assert.equal(scrollToShow(280, 50, box), 180);
  assert.equal(scrollToShow(90, 50, box), -10);
});

test("a group of the first column begins a row; a cell holds any number of groups", () => {
  const groups = [0, 1, 1, 2, 0, 2].map((column) => ({ column }));
  assert.equal(JSON.stringify(tableRows(groups, 3)), "[[[0],[1,2],[3]],[[4],[],[5]]]");
});
