import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.js";

const DRAWING = ["clusters/scatter_geometry.js", "clusters/scatter_points.js"];
const MAP = [
  "components/_base.js",
  "components/_layers.js",
  "clusters/scatter_store.js",
  ...DRAWING,
  "clusters/scatter.js",
];
const PAGE = { location: { pathname: "/clusters" }, document: { addEventListener() {} }, addEventListener() {} };
const { SIDE, PointSet, ...map } = load(
  DRAWING,
  [
    ...["SIDE", "ZOOMS", "PointSet", "wholeView", "gridToPixels", "zoomed", "wheelFactor", "extendLasso"],
    ...[
      "boxCorners",
      "notePlace",
      "boundsOf",
      "shuffled",
      "unpackBits",
      "rgbOf",
      "rimOf",
      "dotStencil",
      "dotRadius",
      "paintDots",
      "newLight",
      "clearLight",
      "showLight",
    ],
  ],
  { atob },
);

// Values made in another context have other prototypes, which deepEqual tells apart.
const plain = (value) => JSON.parse(JSON.stringify(value));
const close = (one, other) => assert.ok(Math.abs(one - other) < 1e-6, `${one} is not ${other}`);

function pointSet(places) {
  return new PointSet(new Uint8Array(new Uint16Array(places.flat()).buffer));
}

test("the whole view holds all points between the pads, whatever the picture's size", () => {
  for (const size of [
    [800, 500],
    [300, 320],
  ]) {
    const [scale, left, top] = map.gridToPixels([0, 0, SIDE, SIDE], size, map.wholeView());
    assert.ok(left >= 16 - 1e-6 && top >= 44 - 1e-6);
    assert.ok(SIDE * scale + left <= size[0] - 16 + 1e-6 && SIDE * scale + top <= size[1] - 30 + 1e-6);
  }
});

test("a zoom keeps the place under the pointer, and ends at its limits", () => {
  const around = [10_000, 50_000];
  const pixel = (view) => {
    const [scale, left, top] = map.gridToPixels([0, 0, SIDE, SIDE], [800, 500], view);
    return [around[0] * scale + left, around[1] * scale + top];
  };
  const view = map.zoomed(map.wholeView(), 3, around);
  assert.equal(view.zoom, 3);
  pixel(view).forEach((value, axis) => close(value, pixel(map.wholeView())[axis]));
  assert.equal(map.zoomed(view, 1e9).zoom, map.ZOOMS[1]);
  assert.deepEqual(map.zoomed(view, 0.01, around), map.wholeView());
});

test("the wheel zooms in when it is turned away, by lines as by pixels", () => {
  assert.ok(map.wheelFactor({ deltaY: -100, deltaMode: 0 }) > 1);
  assert.ok(map.wheelFactor({ deltaY: 3, deltaMode: 1 }) < 1);
});

test("a lasso leaves out corners nearer than three pixels", () => {
  const corners = [[0, 0]];
  assert.equal(map.extendLasso(corners, [2.9, 0], 1), corners);
  assert.deepEqual(plain(map.extendLasso(corners, [3, 0], 1)), [
    [0, 0],
    [3, 0],
  ]);
  assert.equal(map.extendLasso(corners, [2.9, 0], 2).length, 2);
});

test("a box has four corners, the first and third as dragged", () => {
  const corners = plain(map.boxCorners([5, 9], [1, 2]));
  assert.equal(corners.length, 4);
  assert.deepEqual(
    [corners[0], corners[2]],
    [
      [5, 9],
      [1, 2],
    ],
  );
});

test("the note beside the pointer stays in the picture", () => {
  for (const pointer of [
    [5, 5],
    [395, 5],
    [395, 295],
  ]) {
    const [left, top] = map.notePlace(pointer, [120, 80], [400, 300]);
    assert.ok(left >= 0 && left + 120 <= 400);
    assert.ok(top >= 0 && top + 80 <= 300);
  }
});

test("the points nearest to a place are found as by looking at all of them", () => {
  let state = 7;
  const random = () => (state = (state * 48271) % 2147483647) % (SIDE + 1);
  const places = Array.from({ length: 500 }, () => [random(), random()]);
  const set = pointSet(places);
  for (const [x, y, reach] of [
    [0, 0, 9000],
    [SIDE, SIDE, 9000],
    [30_000, 30_000, 4000],
  ]) {
    const distances = places.map((place, i) => [Math.hypot(place[0] - x, place[1] - y), i]);
    const wanted = distances.filter(([distance]) => distance <= reach).sort((one, other) => one[0] - other[0]);
    assert.deepEqual(
      [...set.near(x, y, reach, 5)],
      wanted.slice(0, 5).map(([, i]) => i),
    );
  }
});

test("bounds enclose the places; the order of drawing holds each point once and stays the same", () => {
  assert.deepEqual(plain(map.boundsOf([5, 9, 2, 30, 7, 1])), [2, 1, 7, 30]);
  const order = [...map.shuffled(50)];
  assert.notDeepEqual(
    order,
    [...order].sort((a, b) => a - b),
  );
  assert.deepEqual(
    [...order].sort((a, b) => a - b),
    [...Array(50).keys()],
  );
  assert.deepEqual([...map.shuffled(50)], order);
});

test("bits come as numpy packs them, the highest first", () => {
  assert.deepEqual(
    [...map.unpackBits(btoa(String.fromCharCode(0b10100000, 0b01000000)), 10)],
    [1, 0, 1, 0, 0, 0, 0, 0, 0, 1],
  );
  assert.equal(map.unpackBits("", 10), null);
});

test("colors are read from both notations; a dark dot on a dark ground gets a lighter rim", () => {
  assert.deepEqual(plain(map.rgbOf("#0a10ff")), [10, 16, 255]);
  assert.deepEqual(plain(map.rgbOf("rgb(1, 2, 3)")), [1, 2, 3]);
  assert.ok(map.rimOf([10, 10, 10], [14, 17, 23], true)[0] > 10);
  assert.ok(map.rimOf([200, 200, 200], [255, 255, 255], false)[0] < 200);
});

test("dots are smaller where there are more, and larger as the map is zoomed", () => {
  assert.ok(map.dotRadius(50_000, 1) < map.dotRadius(100, 1));
  assert.ok(map.dotRadius(100, 10) > map.dotRadius(100, 1));
  const { cells } = map.dotStencil(2, 1);
  const middle = cells.find(({ dx, dy }) => dx === 0 && dy === 0);
  assert.deepEqual([middle.inner, middle.outer], [1, 1]);
  assert.ok(cells.every(({ inner, outer }) => inner <= outer));
});

test("a dot is painted at its place in its color; a faded one lets the ground through, one beyond the edge is left out", () => {
  const paint = (opacity, marks, ground = [0, 0, 0]) => {
    const light = map.newLight(20, 20),
      pixels = new Uint32Array(400),
      places = [10, 8, 4, 4, 19, 19];
    const [fills, rims] = [[200, 0, 0, 0, 0, 0], Array(6).fill(0)];
    const style = { stencil: map.dotStencil(2, 1), codes: [0, 1, 0], fills, rims };
    map.clearLight(light);
    map.paintDots(light, places, [1, 0, 0], style, opacity, marks, 1);
    map.showLight(light, ground, pixels);
    return (x, y) => pixels[20 * y + x] & 0xff;
  };
  const red = paint(1, [1, 0, 1], [60, 0, 0]);
  assert.deepEqual([red(10, 8), red(4, 4), red(19, 19)], [200, 60, 60]);
  assert.equal(paint(1, null, [60, 0, 0])(4, 4), 0);
  assert.ok(paint(0.16, null)(10, 8) < 50);
});

// All dots, one over the other, as no map of many could be painted in time.
function paintedOver(ground, [width, height], places, scale, style, passes) {
  const pixels = Array.from({ length: width * height }, () => [...ground]);
  const { reach, cells } = style.stencil;
  for (const { opacity, isWanted } of passes) {
    for (let i = 0; i < style.codes.length; i += 1) {
      const [x, y] = [0, 1].map((axis) => Math.round(places[2 * i + axis] * scale)),
        [fill, rim] = [style.fills, style.rims].map((colors) => colors.slice(3 * style.codes[i]));
      if (!isWanted(i) || x < reach || y < reach || x >= width - reach || y >= height - reach) continue;
      for (const cell of cells) {
        const [a, b] = [cell.inner * opacity, (cell.outer - cell.inner) * opacity],
          spot = (y + cell.dy) * width + x + cell.dx;
        pixels[spot] = pixels[spot].map((value, part) => value * (1 - a - b) + fill[part] * a + rim[part] * b);
      }
    }
  }
  return pixels;
}

test("painting from the top dot down shows what painting all, one over the other, does", () => {
  let state = 11;
  const random = (most) => (state = (state * 48271) % 2147483647) % most;
  const [width, height, count] = [90, 70, 2500],
    scale = width / SIDE,
    ground = [250, 252, 253];
  const places = Uint16Array.from({ length: 2 * count }, () => random(SIDE));
  const codes = Uint8Array.from({ length: count }, () => random(3));
  const style = {
    ...{ stencil: map.dotStencil(1.1, 0.4), codes },
    fills: [220, 40, 40, 40, 200, 60, 60, 80, 230],
    rims: [120, 30, 32, 30, 114, 48, 40, 54, 133],
  };
  for (const marks of [null, Uint8Array.from({ length: count }, () => Number(random(4) === 0))]) {
    const light = map.newLight(width, height),
      pixels = new Uint32Array(width * height);
    map.clearLight(light);
    map.paintDots(light, places, [scale, 0, 0], style, 1, marks, 1);
    if (marks) map.paintDots(light, places, [scale, 0, 0], style, 0.16, marks, 0);
    map.showLight(light, ground, pixels);
    const passes = marks
      ? [
          { opacity: 0.16, isWanted: (i) => !marks[i] },
          { opacity: 1, isWanted: (i) => marks[i] },
        ]
      : [{ opacity: 1, isWanted: () => true }];
    const off = paintedOver(ground, [width, height], places, scale, style, passes).map((pixel, spot) =>
      Math.max(...pixel.map((value, part) => Math.abs(value - ((pixels[spot] >> (8 * part)) & 255)))),
    );
    assert.ok(Math.max(...off) < 32, `off by ${Math.max(...off)} of 255`);
    assert.ok(off.reduce((sum, value) => sum + value) / off.length < 1.5);
  }
});

// A map without a page: what it draws is noted, and flush() lets the next frame come.
function mapWithoutPage() {
  const frames = new Map();
  const world = {
    ...PAGE,
    requestAnimationFrame: (work) => frames.set(frames.size + 1, work) && frames.size,
    cancelAnimationFrame: (id) => frames.delete(id),
  };
  const { Scatter } = load(MAP, ["Scatter"], world);
  const drawn = [];
  const scatter = Object.create(Scatter.prototype);
  Object.assign(scatter, {
    ...{ set: {}, tool: "lasso", view: map.wholeView(), stale: new Set(), frame: null },
    ...{ draw: () => drawn.push("points"), drawOver: () => drawn.push("over"), showNote() {} },
    ...{ toPixels: () => [1, 0, 0], placeAt: (event) => [event.clientX, event.clientY] },
  });
  const flush = () => {
    for (const work of frames.values()) work();
    frames.clear();
    return drawn.splice(0);
  };
  return { scatter, flush };
}

test("a lasso's move does not cancel the redraw that a zoom asked for", () => {
  const { scatter, flush } = mapWithoutPage();
  Object.assign(scatter, { start: [0, 0], drawn: [[0, 0]] });
  scatter.zoomBy(2);
  scatter.move({ clientX: 9, clientY: 9 });
  assert.deepEqual(flush(), ["points"]);
  scatter.move({ clientX: 19, clientY: 9 });
  assert.deepEqual(flush(), ["over"]);
});
