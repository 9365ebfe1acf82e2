import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.js";

test("a key that goes into a field of text is no shortcut", () => {
  const { isTyping } = load(["components/_layers.js"], ["isTyping"], { HTMLElement: class {} });
  const pressed = (target, keys = {}) => ({ composedPath: () => [target], ...keys });
  assert.equal(Boolean(isTyping(pressed({}))), false);
  assert.equal(isTyping(pressed({}, { ctrlKey: true })), true);
});
