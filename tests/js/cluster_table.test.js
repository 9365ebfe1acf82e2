import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.js";

const PAGE = { location: { pathname: "/clusters" }, document: { addEventListener() {} }, addEventListener() {} };
const { sortRows, sortAfterClick, BY_NUMBER } = load(
  ["components/_base.js", "images/sent_images.js", "clusters/cluster_table.js"],
  ["sortRows", "sortAfterClick", "BY_NUMBER"],
  PAGE,
);
const ROWS = [
  { cluster: 1, given: "", size: 5, kept: null },
  { cluster: 2, given: "Trees", size: 9, kept: 0 },
  { cluster: 10, given: "", size: 5, kept: 0.5 },
  { cluster: 3, given: "cars", size: 1, kept: 1 },
];
const numbers = (sort) => [...sortRows(ROWS, sort)].map((row) => row.cluster);

test("clusters are sorted by figures, those of equal figures by number, unknown ones as the least", () => {
  assert.deepEqual(numbers(BY_NUMBER), [1, 2, 3, 10]);
  assert.deepEqual(numbers(["size", -1]), [2, 1, 10, 3]);
  assert.deepEqual(numbers(["kept", 1]), [1, 2, 10, 3]);
});

test("names that people gave come first, without regard to case, then the others by number", () => {
  assert.deepEqual(numbers(["name", 1]), [3, 2, 1, 10]);
});

test("a heading sorts, reverses, and goes back to the order of numbers", () => {
  const sorts = [BY_NUMBER];
  for (let click = 0; click < 3; click += 1) sorts.push(sortAfterClick(sorts.at(-1), "size"));
  assert.deepEqual([...sorts[1]], ["size", -1]);
  assert.deepEqual([...sorts[2]], ["size", 1]);
  assert.equal(sorts[3], BY_NUMBER);
  assert.deepEqual([...sortAfterClick(["size", 1], "name")], ["name", 1]);
});
