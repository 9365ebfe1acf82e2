import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.js";

const plain = (value) => JSON.parse(JSON.stringify(value));

function tab() {
  const values = new Map();
  const sessionStorage = {
    getItem: (name) => values.get(name) ?? null,
    setItem: (name, text) => values.set(name, text),
  };
  const { StepLog } = load(["components/editable_image_steps.js"], ["StepLog"], { sessionStorage });
  return { log: new StepLog(), values };
}

test("steps on a shape are there again, and nobody else's", () => {
  const { log } = tab();
  log.write("mask 1", "mask 1 shape 0", [{ do: "fill" }], null);
  log.write("mask 2", "mask 2 shape 0", [{ do: "smooth" }], null);
  assert.deepEqual(plain(log.read("mask 1", "mask 1 shape 0").mine.steps), [{ do: "fill" }]);
  assert.equal(log.read("mask 1", "mask 1 shape 7").mine, undefined);
  assert.equal(log.read("mask 1", "mask 1 shape 7").sent, undefined);
});

test("what was on its way to be kept is asked for under another shape", () => {
  const { log } = tab();
  log.write("mask 1", "mask 1 shape 0", [{ do: "fill" }], { client: "a", seq: 4 });
  const { sent } = log.read("mask 1", "mask 1 shape 7");
  assert.deepEqual(plain(sent), { owner: "mask 1 shape 0", keep: { client: "a", seq: 4 } });
});

test("a mask that was kept, or left, leaves nothing; of many the last stay", () => {
  const { log, values } = tab();
  for (let number = 0; number < 12; number += 1) log.write(`${number}`, `${number} 0`, [{ do: "fill" }], null);
  assert.equal(log.read("0", "0 0").mine, undefined);
  assert.notEqual(log.read("11", "11 0").mine, undefined);
  log.write("11", "11 0", [], null);
  assert.equal(log.read("11", "11 0").mine, undefined);
  values.set("maskdistill edits", "no json");
  assert.deepEqual(plain(log.read("3", "3 0")), {});
});

test("points in pixels of the photo, a little outside at most", () => {
  const { placeOf } = load(["components/editable_image_over.js"], ["placeOf"]);
  assert.deepEqual(plain(placeOf([0.5, 0.25], [200, 100])), { x: 100, y: 25 });
  assert.deepEqual(plain(placeOf([-9, 9], [200, 100])), { x: -100, y: 150 });
});
