import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.js";

const FILES = ["_layers", "actions", "picture", "panel", "annotator"].map((name) =>
  name === "_layers" ? `components/${name}.js` : `audit/${name}.js`,
);

function browser() {
  const timers = [];
  const target = { addEventListener() {}, dispatchEvent() {} };
  const world = {
    AbortController,
    DOOR: {},
    HTMLElement: class {},
    CustomEvent: class {},
    document: target,
    window: target,
    mount() {},
    setTimeout: (call) => timers.push(call),
    clearTimeout: (number) => number && (timers[number - 1] = null),
  };
  const names = ["ActionQueue", "actionOfKey", "nextMask", "thumbnailIds", "fit"];
  return { ...load(FILES, names, world), ...world, timers };
}

// A queue of actions with the messages that it sent, and a server that answers them.
function connected(session = "first") {
  const { ActionQueue, DOOR, timers } = browser();
  const messages = [];
  const failures = [];
  const queue = new ActionQueue({
    position: () => ({ at: 7 }),
    onAnswer() {},
    onFailure: (text) => failures.push(text),
  });
  queue.start();
  const answer = (acked, more = {}) =>
    queue.receive({
      answer: { session, acked: { [queue.client]: acked }, number: queue.number, error: "", ...more },
      send: (_name, message) => messages.push(message),
    });
  answer(0);
  return { queue, answer, messages, failures, timers, DOOR };
}

const plain = (value) => JSON.parse(JSON.stringify(value)); // what comes from another context has other prototypes

test("keys stand for actions, also in other alphabets and not while a slider has the arrows", () => {
  const { actionOfKey } = browser();
  const pressed = (key, more = {}) => actionOfKey({ key, code: "", composedPath: () => [{}], ...more });
  assert.equal(pressed("A"), "accept");
  assert.equal(pressed("u", { shiftKey: true }), "redo");
  assert.equal(pressed("9"), "9");
  assert.equal(pressed("0"), "clusters");
  assert.equal(pressed("ф", { code: "KeyA" }), "accept");
  assert.equal(pressed("q"), undefined);
  assert.equal(pressed("ArrowRight"), "next");
  assert.equal(pressed("ArrowRight", { composedPath: () => [{ tagName: "INPUT" }] }), undefined);
});

test("actions are numbered, sent together, and kept until the server has them", () => {
  const { queue, answer, messages } = connected();
  queue.add("accept", 7);
  queue.send();
  queue.add("relabel", 8, 3);
  queue.send(); // one message at a time
  assert.equal(messages.length, 1);
  assert.equal(queue.has(7), true);
  answer(1);
  assert.deepEqual(
    plain(messages[1].actions).map(({ seq, kind, mask, cluster, again }) => [seq, kind, mask, cluster, again]),
    [[2, "relabel", 8, 3, false]],
  );
  assert.equal(messages[1].at, 7);
  answer(2);
  assert.equal(queue.upToDate, true);
});

test("after a restart of the server actions are sent again, and marked", () => {
  const { queue, answer, messages } = connected();
  queue.add("accept", 7);
  queue.send();
  answer(0, { session: "second", number: 0 });
  assert.deepEqual(plain(messages.map(({ actions }) => actions[0].again)), [false, true]);
});

test("an action that cannot be written stops the queue until somebody tries again", () => {
  const { queue, answer, messages } = connected();
  queue.add("accept", 7);
  queue.send();
  answer(0, { error: "The disk is full." });
  assert.equal(messages.length, 1);
  queue.retry();
  assert.equal(messages.length, 2);
});

test("a server that does not answer is asked again, then reported", () => {
  const { queue, messages, failures, timers } = connected();
  queue.add("accept", 7);
  queue.send();
  timers.at(-1)();
  assert.deepEqual([messages.length, failures.length], [2, 0]);
  timers.at(-1)();
  assert.deepEqual([messages.length, failures.length], [3, 1]);
});

test("a click on another page waits until the actions are saved", () => {
  const { queue, answer, DOOR } = connected();
  let left = 0;
  assert.equal(
    DOOR.hold(() => {}),
    false,
  );
  queue.add("accept", 7);
  assert.equal(
    DOOR.hold(() => (left += 1)),
    true,
  );
  assert.equal(left, 0);
  answer(1);
  assert.equal(left, 1);
});

test("the next mask is the first open one that was not on show, and none twice before the server knows", () => {
  const { nextMask } = browser();
  const actions = { has: (id) => id === 2, upToDate: false };
  assert.equal(nextMask([1, 2, 3], [1], 1, actions), 3);
  assert.equal(nextMask([1, 2], [1, 5], 5, actions), undefined);
  assert.equal(nextMask([1, 2], [1, 5], 5, { ...actions, upToDate: true }), 1);
});

test("thumbnails fill the room around the mask on show", () => {
  const { thumbnailIds } = browser();
  const ids = (history, cursor, upcoming) => plain(thumbnailIds({ history, cursor, upcoming }, 5));
  assert.deepEqual(ids([1, 2, 3, 4], 3, [4, 5, 6, 7]), [2, 3, 4, 5, 6]);
  assert.deepEqual(ids([1, 2, 3, 4, 5, 6], 5, []), [2, 3, 4, 5, 6]);
  assert.deepEqual(ids([1], 0, [2, 3]), [1, 2, 3]);
});

test("a picture is as large as there is room for, in the middle", () => {
  const { fit } = browser();
  assert.deepEqual(plain(fit([100, 50], [400, 400])), [0, 100, 400, 200]);
  assert.deepEqual(plain(fit([50, 100], [400, 200])), [150, 0, 100, 200]);
});
