// Actions on their way to the disk: numbered, kept until the server has them, sent again after a restart.
const TIMEOUT = 5000; // milliseconds until a message without an answer is sent again
const MOST_PENDING = 12; // actions that may be on their way

class ActionQueue {
  // position() says where the annotator is; onAnswer(answer) gets every answer; onFailure(text) what goes wrong.
  constructor({ position, onAnswer, onFailure }) {
    Object.assign(this, { position, onAnswer, onFailure });
    this.client = Math.random().toString(36).slice(2, 10);
    this.number = this.seq = this.unanswered = 0;
    this.pending = [];
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
    this.pending.push({ seq: this.seq, kind, mask, cluster });
  }

  // Sends the position and the pending actions; "again" marks those that another session of the server may have got.
  send(extra = {}) {
    if (this.waiting || !this.sendMessage || this.stopped) return;
    this.number += 1;
    const actions = this.pending.map(({ sent, ...action }) => ({
      ...action,
      again: Boolean(sent) && sent !== this.session,
    }));
    for (const action of this.pending) action.sent = this.session;
    this.waiting = true;
    this.timer = setTimeout(() => this.repeat(), TIMEOUT);
    this.sendMessage("message", { client: this.client, number: this.number, actions, ...this.position(), ...extra });
  }

  // Asks for a mask's details, which are drawn without the annotator.
  openDetail(mask) {
    this.sendMessage?.("detail", mask);
  }

  repeat() {
    this.waiting = false;
    this.unanswered += 1;
    const number = this.pending.length;
    const left = number ? `${count(number, "action is", "actions are")} not saved yet: leave this tab open.` : "";
    if (this.unanswered > 1) this.onFailure(`The server does not answer. ${left}`);
    if (number || this.unanswered < 3) this.send();
  }

  receive({ answer, send }) {
    this.sendMessage = send;
    const isOther = answer.session !== this.session; // another queue, or a server that was started again
    this.session = answer.session;
    const acked = answer.acked[this.client] || 0;
    this.pending = this.pending.filter((action) => action.seq > acked);
    if (isOther || answer.number >= this.number) {
      clearTimeout(this.timer);
      this.waiting = false;
      this.unanswered = 0;
    }
    this.stopped = answer.error && !isOther; // nothing more is sent until a person asks for it
    this.onAnswer(answer);
    if (this.pending.length) this.send();
    else if (this.leave) {
      const { leave } = this;
      this.leave = null;
      leave();
    }
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
    if (DOOR.hold === this.holder) DOOR.hold = null;
    this.listening.abort();
  }
}

function count(number, one, many) {
  return `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
}
