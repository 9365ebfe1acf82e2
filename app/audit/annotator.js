// The desk: one mask large, its story, the keys, and the masks before and after it.
const KEYS = {
  a: "accept",
  x: "reject",
  s: "skip",
  u: "undo",
  z: "look",
  m: "other",
  h: "hide",
  0: "list",
  "?": "help",
};
const AT_ONCE = ["help", "retry"]; // wait for nothing
const SIGNS = { accept: "✓", reject: "✕", relabel: "⇄", skip: "»", "": "" };
const MOST_HELD = 30; // keys
const REST = 1500; // milliseconds on one mask until the link names it
const SETTLE = 300; // milliseconds in which a page that was just drawn comes to its end

class Desk {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(name);
    this.trail = []; // masks in the order they were on show; the one on show is trail[cursor]
    this.cursor = 0;
    this.ahead = [];
    this.said = new Map();
    this.thumbs = new Map();
    this.tiles = new Map();
    this.held = []; // keys that wait for their mask
    this.picture = new Picture(this.find("canvas"), this.find(".stage"));
    this.listen();
    this.strokes = new Strokes({
      describe: () => ({
        at: this.at,
        look: this.picture.look,
        strip: this.trail.slice(-60),
        have: [...this.picture.cards.keys(), ...[...this.thumbs.keys()].map((id) => `t${id}`)],
      }),
      hear: (answer, fresh) => this.hear(answer, fresh),
      fail: (text) => this.complain(text),
    });
    this.strokes.start();
  }

  get at() {
    return this.trail[this.cursor] ?? null;
  }

  listen() {
    this.listeners = [
      [document, "keydown", (event) => this.press(event)],
      [
        document,
        "keyup",
        (event) => {
          if (letter(event) === "h") this.hide(false);
        },
      ],
      [window, "blur", () => this.hide(false)],
      [document, "focusin", () => this.doze()],
      [document, "focusout", () => setTimeout(() => this.doze())],
    ];
    for (const [target, name, handler] of this.listeners) target.addEventListener(name, handler);
    for (const button of this.root.querySelectorAll("button[data-do]"))
      button.onclick = () => this.act(button.dataset.do);
    const hide = this.find(".hide");
    hide.onpointerdown = (event) => {
      hide.setPointerCapture(event.pointerId);
      this.hide(true);
    };
    hide.onpointerup = hide.onpointercancel = hide.onlostpointercapture = () => this.hide(false);
    this.list = new ClusterList(this.find(".all"), (cluster) => this.decide("relabel", cluster));
    this.doing = {
      ...Object.fromEntries(["accept", "reject", "skip"].map((kind) => [kind, () => this.decide(kind)])),
      ...Object.fromEntries(["undo", "redo"].map((kind) => [kind, () => this.turnBack(kind)])),
      ...Object.fromEntries(["crop", "whole"].map((look) => [look, () => this.setLook(look)])),
      look: () => this.setLook(this.picture.look === "crop" ? "whole" : "crop"),
      other: () => this.showOther(!this.picture.other),
      back: () => this.go(Math.max(0, this.cursor - 1)),
      on: () => this.advance(),
      list: () => this.card && this.list.open(),
      detail: () => this.card && this.strokes.open(this.at),
      help: () => this.find(".help").showModal(),
      retry: () => {
        this.complain("");
        this.strokes.retry();
      },
    };
  }

  update(data) {
    this.data = data;
    this.list.clusters = data.clusters;
    this.find(".version").textContent = "";
    for (const [name, colour] of Object.entries(data.colours))
      this.find(".desk").style.setProperty(`--${name}`, colour);
    this.render();
  }

  press(event) {
    if (!this.root.isConnected || isTyping(event) || event.defaultPrevented) return;
    if (document.querySelector('[role="dialog"]') || this.root.querySelector("dialog[open]")) return;
    const what = meaning(event);
    if (!what) return;
    event.preventDefault();
    if (what === "hide") this.hide(true);
    else if (!event.repeat || event.key.startsWith("Arrow")) this.act(what);
  }

  // Does what a key or a button says; in its turn, if some wait already.
  act(what) {
    if (isLeaving()) return; // what is done now could not be saved any more
    if (!AT_ONCE.includes(what) && (this.held.length || !this.canDo(what))) {
      if (this.held.length < MOST_HELD) this.held.push(what);
    } else this.perform(what);
  }

  perform(what) {
    if (/^[1-9]$/.test(what)) this.relabel(Number(what));
    else this.doing[what]();
  }

  // A key waits while an undo is on its way, and one that judges until its mask is there to be seen.
  canDo(what) {
    if (this.strokes.stopped) return true;
    const judges = /^(accept|reject|skip|[1-9])$/.test(what);
    return !this.turning && !(judges && !this.answer?.over && (!this.card || this.strokes.full));
  }

  get card() {
    return this.at !== null && this.picture.ready(this.at) ? this.picture.cards.get(this.picture.key(this.at)) : null;
  }

  relabel(number) {
    const choice = this.card?.keys[number - 1];
    if (choice) this.decide("relabel", choice.cluster);
  }

  decide(kind, cluster = null) {
    if (!this.card || this.strokes.full || this.strokes.stopped) return; // there is nothing to decide on
    const mask = this.at;
    this.said.set(mask, { sign: kind, text: "" });
    this.strokes.note(kind, mask, cluster);
    this.advance();
    this.strokes.send();
  }

  turnBack(kind) {
    if (this.strokes.stopped) return;
    this.turning = this.strokes.seq + 1;
    this.strokes.note(kind);
    this.strokes.send();
  }

  // Goes on: along the masks seen before, then to the next that waits.
  advance() {
    if (this.cursor < this.trail.length - 1) {
      this.go(this.cursor + 1);
      return;
    }
    const fresh = !this.strokes.waiting && !this.strokes.pending.length;
    const open = this.ahead.filter((id) => id !== this.at && !this.strokes.has(id));
    const next = open.find((id) => !this.trail.includes(id)) ?? (fresh ? open[0] : undefined);
    if (next !== undefined) this.visit(next);
    else if (this.cursor < this.trail.length) this.go(this.trail.length);
  }

  visit(id) {
    this.trail = [...this.trail.filter((other) => other !== id), id].slice(-200);
    this.go(this.trail.length - 1);
  }

  go(cursor) {
    this.cursor = cursor;
    this.picture.show(this.at);
    this.render();
    clearTimeout(this.resting);
    if (this.at !== null) this.resting = setTimeout(() => this.strokes.send({ rest: true }), REST);
    if (!this.card || this.ahead.some((id) => !this.picture.cards.has(this.picture.key(id))))
      queueMicrotask(() => this.strokes.send());
  }

  setLook(look) {
    this.picture.look = look;
    this.picture.draw();
    this.render();
    this.strokes.send();
  }

  showOther(other) {
    this.picture.other = other;
    this.picture.draw();
    this.render();
  }

  // Shows that the keys go elsewhere while somebody types.
  doze() {
    this.find(".desk")?.classList.toggle("asleep", isFieldFocused());
  }

  hide(hidden) {
    if (this.picture.hidden === hidden) return;
    this.picture.hidden = hidden;
    this.find(".hide").classList.toggle("held", hidden);
    this.picture.draw();
  }

  hear(answer, fresh) {
    if (answer.way !== this.way) this.begin(answer);
    this.answer = answer;
    this.ahead = answer.ahead;
    for (const [id, src] of Object.entries(answer.thumbs)) this.thumbs.set(Number(id), src);
    for (const [id, said] of Object.entries(answer.said))
      if (!this.strokes.has(Number(id))) this.said.set(Number(id), said);
    for (const card of answer.cards)
      this.picture.keep(card, (kept) => {
        if (kept.id === this.at) {
          this.picture.draw();
          this.render();
          this.release();
        }
      });
    while (this.thumbs.size > 200) this.thumbs.delete(this.thumbs.keys().next().value);
    this.jump(answer.goto);
    if (answer.error) this.stay(answer.error);
    else this.complain("");
    if (this.at === null && answer.at !== null && fresh) this.visit(answer.at);
    this.render();
    const missing = [this.at, ...this.ahead].some((id) => id !== null && !this.picture.cards.has(this.picture.key(id)));
    if (missing && !answer.error) setTimeout(() => this.strokes.send(), this.calm ? 0 : SETTLE);
    this.calm = true;
    if (this.stayed !== undefined && !answer.error && !this.strokes.pending.length) this.leave();
    if (this.turning && !this.strokes.pending.some((stroke) => stroke.seq >= this.turning)) this.turning = 0;
    this.release();
  }

  // Another queue, or the first one: forget where we were, not what is on its way.
  begin(answer) {
    this.way = answer.way;
    this.picture.cards.clear();
    this.said.clear();
    this.ahead = [];
    this.trail = answer.trail.filter((id) => id !== answer.at);
    this.cursor = this.trail.length;
    this.gone = answer.goto[0];
    this.calm = false;
    if (isFieldFocused()) document.activeElement.blur(); // a choice was made: the keys are the desk's again
    this.stayed = undefined;
    if (answer.at !== null && !this.strokes.pending.length) this.visit(answer.at);
  }

  jump([number, id]) {
    if (!number || number === this.gone) return;
    this.gone = number;
    const place = this.trail.indexOf(id);
    if (place < 0) this.trail.splice(this.cursor, 0, id);
    this.go(place < 0 ? this.cursor : place);
  }

  release() {
    while (this.held.length && this.canDo(this.held[0])) this.perform(this.held.shift());
  }

  // What could not be written is shown again, and everything behind it waits.
  stay(error) {
    this.held = [];
    const [first] = this.strokes.pending;
    this.stayed ??= this.cursor;
    if (first?.mask !== null && this.trail.includes(first?.mask)) this.go(this.trail.indexOf(first.mask));
    const number = this.strokes.pending.length;
    this.complain(number ? `Not saved: ${error} ${number} stroke${number > 1 ? "s wait" : " waits"}.` : error);
  }

  // All is written after all: back to where the keys had led.
  leave() {
    const cursor = this.stayed;
    this.stayed = undefined;
    this.go(Math.min(cursor, this.trail.length));
  }

  complain(text) {
    const trouble = this.find(".trouble");
    trouble.hidden = !text;
    trouble.querySelector("span").textContent = text;
  }

  render() {
    if (!this.answer || !this.data) return;
    drawProgress(this);
    drawPanel(this);
    drawStrip(this);
  }

  destroy() {
    for (const [target, name, handler] of this.listeners) target.removeEventListener(name, handler);
    clearTimeout(this.resting);
    this.strokes.end();
    this.picture.end();
  }
}

// What a key asks for, if anything.
function meaning(event) {
  if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
    const taken = event.composedPath()[0].tagName === "INPUT"; // a slider or a radio button walks by it
    return taken ? "" : { ArrowLeft: "back", ArrowRight: "on" }[event.key];
  }
  const key = letter(event);
  if (key === "u" && event.shiftKey) return "redo";
  return /^[1-9]$/.test(key) ? key : KEYS[key];
}

// The key's letter, also on keyboards that write in other alphabets.
function letter(event) {
  return /^[\x20-\x7e]$/.test(event.key) ? event.key.toLowerCase() : event.code.replace("Key", "").toLowerCase();
}

function isFieldFocused() {
  const target = document.activeElement;
  return (
    Boolean(target) &&
    (target.isContentEditable ||
      (/^(INPUT|TEXTAREA)$/.test(target.tagName) && !/^(range|checkbox|radio)$/.test(target.type)))
  );
}

export default mount((root) => new Desk(root));
