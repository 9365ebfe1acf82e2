import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.js";

const { columnsOf, ringAround } = load(["proposals/step_gallery.js"], ["columnsOf", "ringAround"], { mount: () => 0 });

test("rows of pictures are about equally long", () => {
  assert.equal(columnsOf(7, 1000, 150), 4); // six fit: four and three, not six and one
  assert.equal(columnsOf(3, 1000, 150), 3);
  assert.equal(columnsOf(7, 100, 150), 1);
});

test("a ring is centred on its patch and two patches wide", () => {
  const ring = ringAround([0, 3], { rows: 2, cols: 4, fx: 1, fy: 1 });
  assert.equal(JSON.stringify(ring), '{"left":"62.5%","top":"-25%","width":"50%","height":"100%"}');
});
