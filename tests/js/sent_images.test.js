import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.js";

const { takePictures, PICTURES } = load(["images/sent_images.js"], ["takePictures", "PICTURES"]);

test("of too many pictures those used longest ago go, but none that is named now", () => {
  const large = "x".repeat(20_000_000);
  takePictures({ a: large, b: large }, ["a", "b"]);
  takePictures({}, ["a"]);
  takePictures({ c: large }, ["c"]);
  assert.deepEqual([...PICTURES.keys()], ["a", "c"]);
  takePictures({ d: large }, ["a", "c", "d"]);
  assert.deepEqual([...PICTURES.keys()], ["a", "c", "d"]);
});
