import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.js";

test("a key that goes into a field of text is no shortcut", () => {
  const { isTyping } = load(["components/_layers.js"], ["isTyping"], { HTMLElement: class {} });
  const pressed = (target, keys = {}) => ({ composedPath: () => [target], ...keys });
  assert.equal(Boolean(isTyping(pressed({}))), false);
  assert.equal(isTyping(pressed({}, { ctrlKey: true })), true);
});

test("nothing is sent for a page that was left, also once the next one has come", () => {
  const location = { pathname: "/audit" };
  const world = { location, document: { addEventListener() {} }, addEventListener() {} };
  const { mount } = load(["components/_base.js"], ["mount"], world);
  const sent = [];
  const place = () => ({ data: {}, parentElement: {}, setTriggerValue: (name) => sent.push(name) });
  const drawn = mount(() => ({ update: (data, trigger) => (data.tell = trigger) }));
  const [audit, guide] = [place(), place()];
  drawn(audit);
  audit.data.tell("of Audit");
  location.pathname = "/guide";
  drawn(guide); // while what Audit drew is still there
  audit.data.tell("too late");
  guide.data.tell("of Guide");
  drawn(audit); // drawn anew, on this page too
  audit.data.tell("of both");
  assert.deepEqual(sent, ["of Audit", "of Guide", "of both"]);
});
