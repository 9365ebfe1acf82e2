import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.js";

const FILES = [
  "components/_base.js",
  "components/_layers.js",
  "clusters/scatter_store.js",
  "clusters/scatter_points.js",
];
const PAGE = { location: { pathname: "/clusters" }, document: { addEventListener() {} }, addEventListener() {} };

// A map without a page: what it draws is noted, and flush() lets the next frame come.
function mapOnPaper() {
  const frames = new Map();
  const world = {
    ...PAGE,
    requestAnimationFrame: (work) => frames.set(frames.size + 1, work) && frames.size,
    cancelAnimationFrame: (id) => frames.delete(id),
  };
  const { Scatter } = load([...FILES, "clusters/scatter.js"], ["Scatter"], world);
  const drawn = [];
  const map = Object.create(Scatter.prototype);
  Object.assign(map, {
    ...{ set: {}, tool: "lasso", view: { zoom: 1, x: 0, y: 0 }, stale: new Set(), frame: null },
    ...{ draw: () => drawn.push("points"), drawOver: () => drawn.push("over"), tell() {} },
    ...{ place: () => [1, 0, 0], at: (event) => [event.clientX, event.clientY] },
  });
  const flush = () => {
    for (const work of frames.values()) work();
    frames.clear();
    return drawn.splice(0);
  };
  return { map, flush };
}

test("a lasso's move does not cancel the redraw that a zoom asked for", () => {
  const { map, flush } = mapOnPaper();
  Object.assign(map, { start: [0, 0], drawn: [[0, 0]] });
  map.zoomBy(2);
  map.move({ clientX: 9, clientY: 9 });
  assert.deepEqual(flush(), ["points"]);
  map.move({ clientX: 19, clientY: 9 });
  assert.deepEqual(flush(), ["over"]);
});
