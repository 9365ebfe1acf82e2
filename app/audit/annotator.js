// The annotator: one mask large, what is known of it, the keys, and thumbnails of the masks before and after it.
const KEYS = {
  ArrowLeft: "back",
  ArrowRight: "next",
  a: "accept",
  x: "reject",
  s: "skip",
  u: "undo",
  z: "zoom",
  m: "other",
  h: "hide",
  e: "edit",
  0: "clusters",
  "?": "help",
};
const IMMEDIATE = ["help", "retry"]; // wait for nothing
const SIGNS = { accept: "✓", reject: "✕", relabel: "⇄", skip: "»", "": "" };
const MOST_KEYS = 30; // that may wait for their mask
const MOST_HISTORY = 200;
const SETTLED = 1500; // milliseconds on one mask until the link names it
const RELEASED = 5000; // milliseconds until it is asked again for masks that others have open
const FIRST_DRAW = 300; // milliseconds in which a page that was just drawn comes to its end

class Annotator {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(name);
    this.history = []; // masks in the order they were on show; the one on show is history[cursor]
    this.cursor = 0;
    this.upcoming = [];
    this.labels = new Map();
    this.thumbnails = new Map();
    this.tiles = new Map();
    this.waitingKeys = [];
    this.unused = 0; // keys that came behind one that could not be written
    this.picture = new Picture(this.find("canvas"), this.find(".stage"));
    this.list = new ClusterList(this.find(".all"), (cluster) => this.decide("relabel", cluster));
    this.listen();
    this.actions = new ActionQueue({
      position: () => ({
        at: this.at,
        zoom: this.picture.zoom,
        shown: this.history.slice(-60),
        cached: [...this.picture.cards.keys(), ...[...this.thumbnails.keys()].map((id) => `t${id}`)],
      }),
      onAnswer: (answer) => this.receive(answer),
      onFailure: (text) => this.report(text),
    });
    this.actions.start();
  }

  get at() {
    return this.history[this.cursor] ?? null;
  }

  get card() {
    return this.at !== null && this.picture.ready(this.at) ? this.picture.cards.get(this.picture.key(this.at)) : null;
  }

  listen() {
    this.listening = new AbortController();
    const { signal } = this.listening;
    document.addEventListener("keydown", (event) => this.press(event), { signal });
    document.addEventListener("keyup", (event) => keyLetter(event) === "h" && this.hide(false), { signal });
    window.addEventListener("blur", () => this.hide(false), { signal });
    document.addEventListener("focusin", () => this.showActive(), { signal });
    document.addEventListener("focusout", () => setTimeout(() => this.showActive()), { signal });
    for (const button of this.root.querySelectorAll("button[data-do]"))
      button.onclick = () => this.act(button.dataset.do);
    const hide = this.find(".hide");
    hide.onpointerdown = (event) => {
      hide.setPointerCapture(event.pointerId);
      this.hide(true);
    };
    hide.onpointerup = hide.onpointercancel = hide.onlostpointercapture = () => this.hide(false);
  }

  update(data) {
    this.data = data;
    this.list.clusters = data.clusters;
    this.find(".version").textContent = "";
    for (const [name, color] of Object.entries(data.colors))
      this.find(".annotator").style.setProperty(`--${name}`, color);
    this.render();
  }

  press(event) {
    if (!this.root.isConnected || isTyping(event) || event.defaultPrevented) return;
    if (document.querySelector('[role="dialog"]') || this.root.querySelector("dialog[open]")) return;
    const name = actionOfKey(event);
    if (!name) return;
    event.preventDefault();
    if (name === "hide") this.hide(true);
    else if (!event.repeat || event.key.startsWith("Arrow")) this.act(name);
  }

  // Does what a key or a button stands for; after those that wait, if any do.
  act(name) {
    if (isLeaving()) return; // what is done now could not be saved any more
    if (IMMEDIATE.includes(name) || (!this.waitingKeys.length && this.canDo(name))) this.perform(name);
    else if (this.waitingKeys.length < MOST_KEYS) this.waitingKeys.push(name);
  }

  // A key waits while an undo is on its way, and one that decides until its mask can be seen.
  canDo(name) {
    if (this.actions.stopped) return true;
    const decides = /^(accept|reject|skip|edit|[1-9])$/.test(name);
    return !this.undoing && !(decides && !this.answer?.finished && (!this.card || this.actions.full));
  }

  perform(name) {
    if (/^[1-9]$/.test(name)) this.relabel(this.card?.keys[name - 1]);
    else if (["accept", "reject", "skip"].includes(name)) this.decide(name);
    else if (["undo", "redo"].includes(name)) this.undo(name);
    else if (["crop", "whole"].includes(name)) this.setZoom(name);
    else if (name === "zoom") this.setZoom(this.picture.zoom === "crop" ? "whole" : "crop");
    else if (name === "other") this.showOther(!this.picture.other);
    else if (name === "back") this.go(Math.max(0, this.cursor - 1));
    else if (name === "next") this.advance();
    else if (name === "clusters" && this.card) this.list.open();
    else if (name === "detail" && this.card) this.actions.openDetail(this.at);
    else if (name === "edit" && this.card) this.edit();
    else if (name === "help") this.find(".help").showModal();
    else if (name === "retry") {
      this.report("");
      this.actions.retry();
    }
  }

  // Mends the mask as it is seen.
  edit() {
    const { other, other_is, mask_is } = this.card;
    const seen = this.picture.other && other ? other_is : mask_is;
    this.actions.openEdit(this.at, seen.includes("stage 1"));
  }

  relabel(choice) {
    if (choice) this.decide("relabel", choice.cluster);
  }

  decide(kind, cluster = null) {
    if (!this.card || this.actions.full || this.actions.stopped) return; // nothing to decide on, or a problem is shown
    this.labels.set(this.at, { sign: kind, text: "" });
    this.actions.add(kind, this.at, cluster);
    this.advance();
    this.actions.send();
  }

  undo(kind) {
    if (this.actions.stopped) return;
    this.actions.add(kind);
    this.undoing = this.actions.seq;
    this.actions.send();
    this.render(); // it is not saved yet
  }

  // Goes on: along the masks seen before, then to the next that is open.
  advance() {
    if (this.cursor < this.history.length - 1) {
      this.go(this.cursor + 1);
      return;
    }
    const next = nextMask(this.upcoming, this.history, this.at, this.actions);
    if (next !== undefined) this.visit(next);
    else if (this.cursor < this.history.length) this.go(this.history.length);
  }

  visit(id) {
    this.history = [...this.history.filter((other) => other !== id), id].slice(-MOST_HISTORY);
    this.go(this.history.length - 1);
  }

  go(cursor) {
    this.cursor = cursor;
    this.picture.show(this.at);
    this.render();
    clearTimeout(this.settling);
    if (this.at !== null) this.settling = setTimeout(() => this.actions.send({ settled: true }), SETTLED);
    if (!this.card || !this.upcoming.every((id) => this.picture.has(id))) queueMicrotask(() => this.actions.send());
  }

  setZoom(zoom) {
    this.picture.zoom = zoom;
    this.redraw();
    this.actions.send();
  }

  showOther(other) {
    this.picture.other = other;
    this.redraw();
  }

  hide(hidden) {
    if (this.picture.hidden === hidden) return;
    this.picture.hidden = hidden;
    this.find(".hide").classList.toggle("held", hidden);
    this.picture.draw();
  }

  // Shows that the keys go elsewhere while somebody types.
  showActive() {
    this.find(".annotator")?.classList.toggle("inactive", isFieldFocused());
  }

  receive(answer) {
    if (answer.queue !== this.queue) this.begin(answer);
    this.answer = answer;
    this.upcoming = answer.upcoming;
    this.keep(answer);
    this.jump(answer.goto);
    this.giveUp(answer.taken || []);
    if (answer.error) this.stay(answer.error);
    else {
      this.unused = 0;
      this.report("");
    }
    if (this.at === null && answer.at !== null && this.actions.upToDate) this.visit(answer.at);
    this.render();
    const missing = [this.at, ...this.upcoming].some((id) => id !== null && !this.picture.has(id));
    if (missing && !answer.error) setTimeout(() => this.actions.send(), this.drawn ? 0 : FIRST_DRAW);
    this.drawn = true;
    if (answer.finished?.waiting) {
      clearTimeout(this.asking);
      this.asking = setTimeout(() => this.actions.send(), RELEASED);
    }
    if (!answer.error && !this.actions.pending.length) this.resume();
    if (this.undoing && !this.actions.pending.some((action) => action.seq >= this.undoing)) this.undoing = 0;
    this.performWaiting();
  }

  // Keeps what an answer brings of labels, thumbnails and cards.
  keep(answer) {
    for (const [id, src] of Object.entries(answer.thumbnails)) this.thumbnails.set(Number(id), src);
    while (this.thumbnails.size > MOST_HISTORY) this.thumbnails.delete(this.thumbnails.keys().next().value);
    for (const [id, label] of Object.entries(answer.labels))
      if (!this.actions.has(Number(id))) this.labels.set(Number(id), label);
    for (const card of answer.cards)
      this.picture.keep(card, ({ id }) => {
        if (id !== this.at) return;
        this.redraw();
        this.performWaiting();
      });
  }

  // Another queue, or the first one: forget the position, not what is on its way.
  begin(answer) {
    this.queue = answer.queue;
    this.picture.cards.clear();
    this.labels.clear();
    this.upcoming = [];
    this.history = answer.before.filter((id) => id !== answer.at);
    this.cursor = this.history.length;
    this.lastGoto = answer.goto[0];
    this.drawn = false;
    if (isFieldFocused()) document.activeElement.blur(); // a choice was made: the keys are the annotator's again
    this.resumeAt = undefined;
    if (answer.at !== null && !this.actions.pending.length) this.visit(answer.at);
  }

  // Goes back to the mask that an undo or redo was about.
  jump([number, id]) {
    if (!number || number === this.lastGoto) return;
    this.lastGoto = number;
    const place = this.history.indexOf(id);
    if (place < 0) this.history.splice(this.cursor, 0, id);
    this.go(place < 0 ? this.cursor : place);
  }

  // Masks seen before that are open elsewhere by now: another person, or another tab, has them on the screen.
  giveUp(taken) {
    const { at } = this;
    const gone = (id) => taken.includes(id) && !this.actions.has(id);
    if (!this.history.some(gone)) return;
    Object.assign(this, without(this.history, this.cursor, gone));
    if (!gone(at)) return;
    if (this.cursor < this.history.length) this.go(this.cursor);
    else this.advance();
  }

  performWaiting() {
    while (this.waitingKeys.length && this.canDo(this.waitingKeys[0])) this.perform(this.waitingKeys.shift());
  }

  // What could not be written is shown again, and everything behind it waits.
  stay(error) {
    const { pending } = this.actions;
    this.unused += this.waitingKeys.length;
    this.waitingKeys = [];
    this.resumeAt ??= this.cursor;
    const place = this.history.indexOf(pending[0]?.mask);
    if (place >= 0) this.go(place);
    const unused = this.unused ? ` Not used: ${count(this.unused, "later key", "later keys")}.` : "";
    this.report(pending.length ? `${error} Not saved, tried again by itself: ${named(pending)}.${unused}` : error);
  }

  // All is written after all: back to where the keys had led.
  resume() {
    if (this.resumeAt === undefined) return;
    const cursor = Math.min(this.resumeAt, this.history.length);
    this.resumeAt = undefined;
    this.go(cursor);
  }

  report(text) {
    const problem = this.find(".problem");
    problem.hidden = !text;
    problem.querySelector("span").textContent = text;
  }

  redraw() {
    this.picture.draw();
    this.render();
  }

  render() {
    if (!this.answer || !this.data) return;
    drawProgress(this);
    drawPanel(this);
    drawThumbnails(this);
  }

  destroy() {
    this.listening.abort();
    clearTimeout(this.settling);
    clearTimeout(this.asking);
    this.actions.end();
    this.picture.end();
  }
}

// The first open mask that was not on show yet; one that was comes again once the server knows of every action.
function nextMask(upcoming, history, at, actions) {
  const open = upcoming.filter((id) => id !== at && !actions.has(id));
  return open.find((id) => !history.includes(id)) ?? (actions.upToDate ? open[0] : undefined);
}

// A history without some masks; where the one on show is among them, the cursor is at the one behind it.
function without(history, cursor, gone) {
  const before = history.slice(0, cursor).filter((id) => !gone(id));
  return { history: [...before, ...history.slice(cursor).filter((id) => !gone(id))], cursor: before.length };
}

// What a key stands for, if anything.
function actionOfKey(event) {
  if (event.key.startsWith("Arrow")) {
    const taken = event.composedPath()[0].tagName === "INPUT"; // a slider or a radio button uses it
    return taken ? undefined : KEYS[event.key];
  }
  const key = keyLetter(event);
  if (key === "u" && event.shiftKey) return "redo";
  return /^[1-9]$/.test(key) ? key : KEYS[key];
}

// The key's letter, also on keyboards that write in other alphabets.
function keyLetter(event) {
  return /^[\x20-\x7e]$/.test(event.key) ? event.key.toLowerCase() : event.code.replace("Key", "").toLowerCase();
}

function isFieldFocused() {
  return Boolean(document.activeElement) && Boolean(isTyping({ composedPath: () => [document.activeElement] }));
}

export default mount((root) => new Annotator(root));
