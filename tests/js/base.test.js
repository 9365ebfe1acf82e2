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

test("a click on another page's link waits until Streamlit has sent what it was told, and the last one counts", () => {
  const timers = [];
  const listeners = {};
  let [now, opened] = [1000, ""];
  class HTMLAnchorElement {
    constructor(pathname) {
      Object.assign(this, { pathname, href: pathname, origin: "here", hasAttribute: () => false });
    }
    click() {
      let isHeld = false;
      const hold = () => (isHeld = true);
      listeners.click({ composedPath: () => [this], preventDefault: hold, stopPropagation() {} });
      if (!isHeld) opened = this.pathname;
    }
  }
  const world = {
    HTMLAnchorElement,
    location: { pathname: "/audit", origin: "here" },
    document: { addEventListener: (name, listener) => (listeners[name] = listener) },
    addEventListener() {},
    performance: { now: () => now },
    setTimeout: (call, delay) => timers.push({ call, at: now + delay }),
    clearTimeout: (number) => number && (timers[number - 1] = null),
  };
  const { mount } = load(["components/_base.js"], ["mount"], world);
  const sent = [];
  const data = {};
  mount(() => ({ update: (_data, trigger) => (data.tell = trigger) }))({
    data,
    parentElement: {},
    setTriggerValue: (name) => sent.push(name),
  });
  const wait = () => {
    const [timer, ...others] = timers.splice(0).filter(Boolean);
    assert.equal(others.length, 0);
    now = timer.at;
    timer.call();
  };
  data.tell("before");
  new HTMLAnchorElement("/clusters").click();
  new HTMLAnchorElement("/guide").click();
  now += 1;
  data.tell("while it waits");
  wait();
  assert.equal(opened, ""); // that goes first too
  wait();
  assert.equal(opened, "/guide");
  data.tell("too late");
  assert.deepEqual(sent, ["before", "while it waits"]);
});

test("a page and its link are one step of the way back", () => {
  const listeners = {};
  const steps = ["/audit"];
  const location = {
    get href() {
      return `http://here${steps.at(-1)}`;
    },
    get pathname() {
      return new URL(this.href).pathname;
    },
  };
  const history = {
    pushState: (_state, _title, url) => steps.push(url),
    replaceState: (_state, _title, url) => steps.splice(-1, 1, url),
  };
  const document = { addEventListener() {} };
  const addEventListener = (name, listener) => (listeners[name] = listener);
  load(["components/_base.js"], [], { location, history, document, addEventListener });
  for (const url of ["/audit?at=1", "/audit?at=2", "/guide", "/guide?run=a", "/guide?run=b", "/audit"])
    history.pushState({}, "", url);
  assert.deepEqual(steps, ["/audit", "/audit?at=1", "/audit?at=2", "/guide?run=a", "/guide?run=b", "/audit"]);
  steps.pop(); // as Back does
  listeners.popstate();
  history.pushState({}, "", "/guide?run=c");
  assert.equal(steps.at(-2), "/guide?run=b");
});
