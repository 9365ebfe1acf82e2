import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.js";

const scale = load(
  ["filter/histogram_scale.js"],
  [
    ...["toPlace", "fromPlace", "stopsOf", "nearestStop", "stopAfterKey", "typedValue"],
    ...["countAt", "passingRange", "axisTop", "barsPath"],
  ],
);
const plain = (value) => JSON.parse(JSON.stringify(value));
const SMALL = [
  [0.1, 0.001],
  [1, 0.01],
];

test("a place on the axis leads back to its value; values beyond the ends stay at the ends", () => {
  for (const power of [1, 2])
    for (const value of [0, 0.04, 0.5, 1])
      assert.ok(Math.abs(scale.fromPlace(scale.toPlace(value, power), power) - value) < 1e-12);
  assert.equal(scale.toPlace(0.25, 2), 0.5); // small values get room
  assert.deepEqual([scale.toPlace(1.5, 1), scale.fromPlace(-0.2, 2)], [1, 0]);
});

test("stops go up by each step to its end, without a stop twice", () => {
  const stops = scale.stopsOf(SMALL);
  assert.equal(stops.length, 1 + 100 + 90);
  assert.deepEqual(plain([stops[0], stops[1], stops[100], stops[101], stops.at(-1)]), [0, 0.001, 0.1, 0.11, 1]);
  assert.ok(stops.every((stop, i) => i === 0 || stop > stops[i - 1]));
});

test("the nearest stop is found as by looking at all of them", () => {
  const stops = scale.stopsOf(SMALL);
  for (const value of [0, 0.0004, 0.0006, 0.0999, 0.104, 0.106, 0.777, 1]) {
    const distances = stops.map((stop) => Math.abs(stop - value));
    assert.equal(scale.nearestStop(stops, value), distances.indexOf(Math.min(...distances)));
  }
});

test("keys move by a stop, by ten, or to an end, and stay on the axis", () => {
  const stops = scale.stopsOf([[1, 0.01]]);
  const after = (key, value) => scale.stopAfterKey(key, stops, value);
  assert.deepEqual([after("ArrowRight", 0.5), after("ArrowDown", 0.5), after("PageUp", 0.5)], [0.51, 0.49, 0.6]);
  assert.deepEqual(
    [after("Home", 0.5), after("End", 0.5), after("ArrowRight", 1), after("PageDown", 0.03)],
    [0, 1, 1, 0],
  );
  assert.equal(after("Tab", 0.5), null);
});

test("what is typed is a value in the axis's unit, held inside it", () => {
  assert.equal(scale.typedValue("0.73", 1), 0.73);
  assert.equal(scale.typedValue("7.5", 100), 0.075);
  assert.deepEqual([scale.typedValue("140", 100), scale.typedValue("-1", 1)], [1, 0]);
  assert.deepEqual(
    [scale.typedValue("", 1), scale.typedValue(" ", 1), scale.typedValue("much", 1)],
    [null, null, null],
  );
});

test("counts while a handle moves come from the curve; one number stands for a flat one", () => {
  assert.equal(scale.countAt([9, 5, 2], 1), 5);
  assert.equal(scale.countAt([7], 88), 7);
});

test("masks pass between the tightest thresholds; nothing passes where they cross", () => {
  const range = (...thresholds) => plain(scale.passingRange(thresholds));
  const least = (value) => ({ dropsBelow: true, value });
  const most = (value) => ({ dropsBelow: false, value });
  assert.deepEqual(range(least(0.2)), [0.2, 1]);
  assert.deepEqual(range(most(0.9)), [0, 0.9]);
  assert.deepEqual(range(least(0.2), most(0.6)), [0.2, 0.6]);
  assert.deepEqual(range(least(0.8), most(0.6)), [0.8, 0.8]);
});

test("one bar far above all others is cut off, others never", () => {
  assert.deepEqual(plain(scale.axisTop([1, 10, 4])), [10, -1]);
  assert.deepEqual(plain(scale.axisTop([1, 100, 4])), [5.4, 1]);
  assert.deepEqual(plain(scale.axisTop([0, 30, 0])), [30, -1]);
  assert.deepEqual(plain(scale.axisTop([0, 0])), [1, -1]);
});

test("bars stand on the counts below them, and end at the top of the axis", () => {
  const size = { width: 20, height: 100, top: 10 };
  assert.equal(scale.barsPath([0, 5], [10, 0], size), "M0.6 100.0V0.0H10.0V100.0Z");
  assert.equal(scale.barsPath([0, 5], [0, 99], size), "M10.6 50.0V0.0H20.0V50.0Z");
  assert.equal(scale.barsPath([10, 12], [3, 3], size), "");
});
