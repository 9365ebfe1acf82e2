import assert from "node:assert/strict";
import { test } from "node:test";
import { load } from "./load.js";

const FILES = ["_layers", "actions", "picture", "panel", "annotator"].map((name) =>
  name === "_layers" ? `components/${name}.js` : `audit/${name}.js`,
);

function browser(stored = {}) {
  const timers = [];
  const sessionStorage = {
    getItem: (key) => stored[key] ?? null,
    setItem: (key, value) => {
      stored[key] = value;
    },
  };
  const target = { addEventListener() {}, dispatchEvent() {} };
  const world = {
    AbortController,
    DOOR: {},
    sessionStorage,
    HTMLElement: class {},
    CustomEvent: class {},
    document: target,
    window: target,
    mount() {},
    setTimeout: (call) => timers.push(call),
    clearTimeout: (number) => number && (timers[number - 1] = null),
  };
  const names = ["ActionQueue", "actionOfKey", "nextMask", "thumbnailIds", "fit", "without"];
  return { ...load(FILES, names, world), ...world, timers };
}

// A queue of actions with the messages that it sent, and a server that answers them.
function connected({ session = "first", stored = {}, ...first } = {}) {
  const { ActionQueue, DOOR, timers } = browser(stored);
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
      answer: { session, owner: "Ann", acked: { [queue.client]: acked }, number: queue.number, error: "", ...more },
      send: (_name, message) => messages.push(message),
    });
  answer(0, first);
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
    plain(messages[1].actions).map(({ client, seq, kind, mask, cluster }) => [client, seq, kind, mask, cluster]),
    [[queue.client, 2, "relabel", 8, 3]],
  );
  assert.equal(messages[1].at, 7);
  answer(2);
  assert.equal(queue.upToDate, true);
});

test("after a restart of the server actions are sent again under their numbers, and that is said", () => {
  const { queue, answer, messages } = connected({ claims: "a" });
  queue.add("accept", 7);
  queue.add("undo");
  queue.send();
  answer(0, { session: "second", claims: "b", number: 0 });
  assert.deepEqual(plain(messages[1].actions), plain(messages[0].actions));
  assert.equal(messages[1].before, "a"); // so that the masks kept for this tab stay its own
  assert.match(queue.note, /accept mask 7, undo/);
  answer(2, { session: "second", claims: "b" });
  assert.match(queue.note, /^Saved now: accept mask 7, undo/);
  queue.send();
  assert.equal(messages.at(-1).before, undefined);
});

test("a page that is loaded again sends what was not saved, under the number of before", () => {
  const stored = {};
  const before = connected({ stored, claims: "a" });
  before.queue.add("accept", 7);
  before.queue.add("reject", 8);
  before.answer(1, { claims: "a" });
  const { queue, answer, messages, timers } = connected({ stored, session: "second", claims: "b" });
  assert.match(queue.note, /reject mask 8/);
  queue.add("accept", 9);
  timers.at(-1)();
  assert.deepEqual(plain(messages[0].actions.map(({ client, seq, mask }) => [client, seq, mask])), [
    [before.queue.client, 2, 8],
    [queue.client, 1, 9],
  ]);
  assert.deepEqual([messages[0].before, messages[0].fresh], ["a", true]);
  answer(1, { session: "second", claims: "b", acked: { [before.queue.client]: 2, [queue.client]: 1 } });
  assert.match(queue.note, /^Saved now: reject mask 8/);
  assert.equal(connected({ stored, session: "third" }).queue.pending.length, 0);
});

test("what one person pressed is not sent under the name of another", () => {
  const { queue, answer, messages } = connected();
  queue.add("accept", 7);
  answer(0, { session: "second", owner: "Bob" });
  assert.deepEqual([queue.pending.length, messages.length], [0, 0]);
  assert.match(queue.note, /1 action/);
  queue.add("reject", 8);
  queue.send();
  assert.deepEqual(plain(messages.map(({ owner, actions }) => [owner, actions.map(({ mask }) => mask)])), [
    ["Bob", [8]],
  ]);
  answer(1, { session: "second", owner: "Bob" });
  answer(1, { session: "third", owner: "Ann" });
  assert.deepEqual(plain([messages.at(-1).owner, messages.at(-1).actions.map(({ mask }) => mask)]), ["Ann", [7]]);
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

test("an action that cannot be written is tried again by itself until it is", () => {
  const { queue, answer, messages, timers } = connected();
  queue.add("accept", 7);
  queue.send();
  for (const number of [2, 3]) {
    answer(0, { error: "The disk is full." });
    assert.equal(queue.stopped, true);
    timers.at(-1)();
    assert.equal(messages.length, number);
  }
  answer(1);
  assert.deepEqual([queue.stopped, queue.upToDate], [false, true]);
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

test("masks of before that are open elsewhere leave the history", () => {
  const { without } = browser();
  const left = (gone) => plain(without([1, 2, 3, 4], 2, (id) => gone.includes(id)));
  assert.deepEqual(left([1, 4]), { history: [2, 3], cursor: 1 });
  assert.deepEqual(left([3]), { history: [1, 2, 4], cursor: 2 });
  assert.deepEqual(left([3, 4]), { history: [1, 2], cursor: 2 });
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
