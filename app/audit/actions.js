// Actions on their way to the disk: numbered, kept until the server has them, sent again after a restart. They are kept
// in the tab's storage too, so that a page that is loaded again still has them.
const TIMEOUT = 5000; // milliseconds until a message without an answer is sent again
const LONGEST_PAUSE = 60_000; // milliseconds until what could not be written is tried again
const MOST_PENDING = 12; // actions that may be on their way
const MOST_NAMED = 3; // in a sentence
const STORE = "maskdistill audit";

class ActionQueue {
  // position() says where the annotator is; onAnswer(answer) gets every answer; onFailure(text) what goes wrong.
  constructor({ position, onAnswer, onFailure }) {
    Object.assign(this, { position, onAnswer, onFailure });
    this.name();
    this.number = this.unanswered = this.failures = 0;
    this.kept = readStore(); // actions by their owner: who pressed the keys, on which run
    this.pending = [];
    this.note = "";
    this.fresh = true; // until the second answer
    this.waiting = false;
    this.listening = new AbortController();
  }

  start() {
    const { signal } = this.listening;
    document.addEventListener("audit-answer", (event) => this.receive(event.detail), { signal });
    window.addEventListener("beforeunload", (event) => this.pending.length && event.preventDefault(), { signal });
    DOOR.hold = this.holder = (go) => this.hold(go);
    document.dispatchEvent(new CustomEvent("audit-hello")); // an answer may have come before
  }

  // A name that no other tab, page or owner has, to number actions under.
  name() {
    this.client = [Math.random(), Math.random()].map((part) => part.toString(36).slice(2, 10)).join("");
    this.seq = 0;
  }

  get full() {
    return this.pending.length >= MOST_PENDING;
  }

  // Whether the last answer knows of every action.
  get upToDate() {
    return !this.waiting && !this.pending.length;
  }

  has(mask) {
    return this.pending.some((action) => action.mask === mask);
  }

  // send() takes it along, with where the annotator has gone since.
  add(kind, mask = null, cluster = null) {
    this.seq += 1;
    this.note = "";
    this.pending.push({ client: this.client, seq: this.seq, kind, mask, cluster });
    this.store();
  }

  store() {
    const kept = Object.entries(this.kept.actions).filter(([, actions]) => actions.length);
    this.kept.actions = Object.fromEntries(kept);
    if (this.owner !== undefined) this.kept.actions[this.owner] = this.pending;
    try {
      sessionStorage.setItem(STORE, JSON.stringify(this.kept));
    } catch {
      // without storage they last as long as the page
    }
  }

  // Sends the position and the pending actions; the server knows those again that it has already.
  send(extra = {}) {
    if (this.waiting || !this.sendMessage || this.stopped) return;
    this.number += 1;
    this.waiting = true;
    this.timer = setTimeout(() => this.repeat(), TIMEOUT);
    const { client, number, owner, before, fresh, pending } = this;
    const from = before ? { before, fresh } : {};
    this.sendMessage("message", {
      client,
      number,
      owner,
      actions: [...pending],
      ...from,
      ...this.position(),
      ...extra,
    });
  }

  // Asks for a mask's details, which are drawn without the annotator.
  openDetail(mask) {
    this.sendMessage?.("detail", mask);
  }

  // Asks for a mask's editor, likewise.
  openEdit(mask, drawn) {
    this.sendMessage?.("edit", [mask, drawn]);
  }

  repeat() {
    this.waiting = false;
    this.unanswered += 1;
    const left = this.pending.length ? ` Not saved yet: ${named(this.pending)}. Leave this tab open.` : "";
    if (this.unanswered > 1) this.onFailure(`The server does not answer.${left}`);
    if (this.pending.length || this.unanswered < 3) this.send();
  }

  receive({ answer, send }) {
    this.sendMessage = send;
    const isOther = answer.session !== this.session; // another queue, or a server that was started again
    if (answer.owner !== this.owner) this.change(answer.owner);
    this.follow(answer, isOther);
    this.session = answer.session;
    const isSaved = (action) => action.seq <= (answer.acked[action.client] || 0);
    this.report(this.pending.filter(isSaved));
    this.pending = this.pending.filter((action) => !isSaved(action));
    this.store();
    if (isOther || answer.number >= this.number) {
      clearTimeout(this.timer);
      this.waiting = false;
      this.unanswered = 0;
    }
    this.pause(answer.error && !isOther);
    this.onAnswer(answer);
    if (this.fresh && (this.pending.length || this.before)) setTimeout(() => this.send(), FIRST_DRAW);
    else if (this.pending.length || this.before) this.send();
    else if (this.leave) {
      const { leave } = this;
      this.leave = null;
      leave();
    }
  }

  // Another person or another run: what was not saved for the one before waits until that comes back.
  change(owner) {
    if (this.owner !== undefined) {
      this.store();
      this.name(); // an acknowledged number says that those before are saved too
    }
    this.owner = owner;
    this.pending = this.kept.actions[owner] || [];
    this.again = new Set(this.pending);
    const others = Object.entries(this.kept.actions).filter(([other]) => other !== owner);
    const left = others.reduce((sum, [, actions]) => sum + actions.length, 0);
    const texts = [];
    if (this.again.size) texts.push(`Not saved before this page was loaded, sent again: ${named(this.pending)}.`);
    if (left)
      texts.push(`Not saved yet under another name or run: ${count(left, "action", "actions")}. Open it again.`);
    this.note = texts.join(" ");
  }

  // The masks that are kept from others are the server's session's; another one goes on with those of this tab.
  follow(answer, isOther) {
    const last = this.kept.claims;
    if (answer.claims === last) {
      if (answer.number >= this.number) this.before = undefined;
      this.fresh = false;
      return;
    }
    this.before = last;
    this.fresh = this.session === undefined;
    this.kept.claims = answer.claims;
    if (!isOther || this.session === undefined || !this.pending.length) return;
    this.again = new Set(this.pending);
    this.note = `The server was started again. Sent again: ${named(this.pending)}.`;
  }

  // Says when actions that seemed to be lost are on the disk.
  report(saved) {
    if (!this.again?.size || !saved.length) return;
    const found = saved.filter((action) => this.again.delete(action));
    if (found.length) this.note = `Saved now: ${named(found)}.`;
  }

  // What cannot be written stops the actions behind it; it is tried again by itself, less and less often.
  pause(failed) {
    this.stopped = Boolean(failed);
    this.failures = this.stopped ? this.failures + 1 : 0;
    clearTimeout(this.retrying);
    if (!this.stopped) return;
    this.retrying = setTimeout(() => this.retry(), Math.min(TIMEOUT * 2 ** (this.failures - 1), LONGEST_PAUSE));
  }

  // A click on another page's link waits until the actions are saved, unless that failed and was reported.
  hold(go) {
    if (!this.pending.length || this.stopped) return false;
    this.leave = go;
    this.send();
    return true;
  }

  retry() {
    this.stopped = false;
    this.send();
  }

  end() {
    clearTimeout(this.timer);
    clearTimeout(this.retrying);
    if (DOOR.hold === this.holder) DOOR.hold = null;
    this.listening.abort();
  }
}

function readStore() {
  try {
    return { actions: {}, ...JSON.parse(sessionStorage.getItem(STORE)) };
  } catch {
    return { actions: {} };
  }
}

function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}

// Actions in words: "accept mask 7, undo and 2 more".
function named(actions) {
  const names = actions.map(({ kind, mask }) => (mask === null ? kind : `${kind} mask ${mask}`));
  const more = names.length - MOST_NAMED;
  return more > 0 ? `${names.slice(0, MOST_NAMED).join(", ")} and ${more} more` : names.join(", ");
}
