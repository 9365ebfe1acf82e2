// Strokes on their way to the disk: numbered, kept until the server has them, sent again after a restart.
const PATIENCE = 5000; // milliseconds until a message without an answer is sent again
const MOST_WAITING = 12; // strokes that may be on their way

class Strokes {
  // describe() adds where the desk is; hear(answer, fresh) is told every answer; fail(text) what goes wrong on the way.
  constructor({ describe, hear, fail }) {
    Object.assign(this, { describe, hear, fail });
    this.client = Math.random().toString(36).slice(2, 10);
    this.turn = this.seq = this.silent = 0;
    this.pending = [];
    this.waiting = false;
    this.listener = (event) => this.receive(event.detail);
    this.guard = (event) => {
      if (this.pending.length) event.preventDefault();
    };
  }

  start() {
    document.addEventListener("audit-answer", this.listener);
    window.addEventListener("beforeunload", this.guard);
    DOOR.hold = this.holder = (go) => this.hold(go);
    document.dispatchEvent(new CustomEvent("audit-hello")); // an answer may have come before
  }

  get full() {
    return this.pending.length >= MOST_WAITING;
  }

  has(mask) {
    return this.pending.some((stroke) => stroke.mask === mask);
  }

  // send() takes it along, with where the desk has gone since.
  note(kind, mask = null, cluster = null) {
    this.seq += 1;
    this.pending.push({ seq: this.seq, kind, mask, cluster });
  }

  // Asks for what is missing, or tells where the desk is; strokes on their way take it along.
  send(extra = {}) {
    if (this.waiting || !this.say || this.stopped) return;
    this.turn += 1;
    const strokes = this.pending.map((stroke) => ({
      ...stroke,
      sent: undefined,
      again: Boolean(stroke.sent) && stroke.sent !== this.sitting,
    }));
    for (const stroke of this.pending) stroke.sent = this.sitting;
    this.waiting = true;
    this.timer = setTimeout(() => this.repeat(), PATIENCE);
    this.say("say", { client: this.client, turn: this.turn, strokes, ...this.describe(), ...extra });
  }

  // Asks for a mask's details, which are drawn without the desk.
  open(mask) {
    this.say?.("detail", mask);
  }

  repeat() {
    this.waiting = false;
    this.silent += 1;
    const number = this.pending.length;
    const left = number ? `${number} stroke${number > 1 ? "s are" : " is"} not saved yet: leave this tab open.` : "";
    if (this.silent > 1) this.fail(`The server does not answer. ${left}`);
    if (number || this.silent < 3) this.send();
  }

  receive({ answer, say }) {
    this.say = say;
    const other = answer.sitting !== this.sitting; // another queue, or a server that was started again
    this.sitting = answer.sitting;
    const acked = answer.acked[this.client] || 0;
    this.pending = this.pending.filter((stroke) => stroke.seq > acked);
    if (other || answer.turn >= this.turn) {
      clearTimeout(this.timer);
      this.waiting = false;
      this.silent = 0;
    }
    this.stopped = answer.error && !other; // nothing is sent on until a person asks for it
    this.hear(answer, !this.waiting && !this.pending.length);
    if (this.pending.length) this.send();
    else if (this.going) {
      const { going } = this;
      this.going = null;
      going();
    }
  }

  // A click on another page's link waits until the strokes are saved, unless that went wrong and was told.
  hold(go) {
    if (!this.pending.length || this.stopped) return false;
    this.going = go;
    this.send();
    return true;
  }

  retry() {
    this.stopped = false;
    this.send();
  }

  end() {
    clearTimeout(this.timer);
    if (DOOR.hold === this.holder) DOOR.hold = null;
    document.removeEventListener("audit-answer", this.listener);
    window.removeEventListener("beforeunload", this.guard);
  }
}
