// Steps to choose from. What is wanted is marked at once, so that quick keys count from there and not from what the
// server has drawn so far.
const KEYS = { ArrowRight: 1, ArrowLeft: -1, PageDown: 1, PageUp: -1 };
const OWN_KEYS = 'input[type="range"], [role="slider"], [role="dialog"], [data-baseweb="popover"]'; // what has arrows of its own
const PATIENCE = 3000; // milliseconds after which the server's word counts again

class Stepper {
  constructor(root) {
    this.find = (name) => root.querySelector(name);
    this.wanted = null; // a step that the server was asked for and has not drawn yet
    this.find(".back").onclick = () => this.go(this.step - 1);
    this.find(".next").onclick = () => this.go(this.step + 1);
    this.find(".screen").onclick = () => this.setFull(!this.data.full);
    this.onKey = (event) => this.key(event);
    this.entered = Boolean(document.fullscreenElement);
    this.onScreen = () => {
      if (!document.fullscreenElement && this.entered && this.data.full) this.setFull(false); // left by Escape
      this.entered = Boolean(document.fullscreenElement);
    };
    document.addEventListener("keydown", this.onKey, true); // before what was clicked last, as a photo of the strip
    document.addEventListener("fullscreenchange", this.onScreen);
  }

  get step() {
    return this.wanted ?? this.data.step;
  }

  update(data, send) {
    this.data = data;
    this.send = send;
    if (this.wanted === data.step) this.wanted = null;
    const list = this.find("ol");
    if (list.children.length !== data.names.length) {
      list.replaceChildren(...data.names.map((name, place) => this.item(name, place + 1)));
    }
    this.find(".screen span").textContent = data.full ? "Leave full screen" : "Full screen";
    this.mark();
  }

  item(name, number) {
    const item = document.createElement("li"),
      button = document.createElement("button");
    const sign = document.createElement("b"),
      word = document.createElement("span");
    button.type = "button";
    button.title = `Step ${number}: ${name}`;
    sign.textContent = number;
    word.textContent = name;
    button.append(sign, word);
    button.onclick = () => this.go(number);
    item.append(button);
    return item;
  }

  mark() {
    [...this.find("ol").children].forEach((item, place) => {
      const here = place + 1 === this.step;
      item.className = here ? "here" : place + 1 < this.step ? "past" : "";
      item.firstChild.toggleAttribute("aria-current", here);
      if (here) item.firstChild.setAttribute("aria-current", "step");
    });
    this.find(".back").disabled = this.step <= 1;
    this.find(".next").disabled = this.step >= this.data.names.length;
  }

  go(step) {
    if (step < 1 || step > this.data.names.length || step === this.step) return;
    this.wanted = step;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      this.wanted = null;
      this.mark();
    }, PATIENCE);
    this.mark();
    this.send("go", step);
  }

  // The layout comes from the server; the browser may give the whole screen only while the key or click is fresh.
  setFull(full) {
    const root = document.documentElement;
    if (full)
      root.requestFullscreen?.().catch(() => {}); // the layout is of use without it
    else if (document.fullscreenElement) document.exitFullscreen();
    this.data.full = full;
    this.send("screen", full);
  }

  key(event) {
    if (event.shiftKey || isTyping(event) || !this.find("nav").isConnected) return;
    if (event.composedPath().some((node) => node instanceof HTMLElement && node.matches(OWN_KEYS))) return;
    const isPage = event.key.startsWith("Page");
    if (event.key in KEYS && (!isPage || this.data.full)) {
      event.preventDefault();
      event.stopPropagation();
      this.go(this.step + KEYS[event.key]);
    } else if (event.key.toLowerCase() === "f") {
      event.preventDefault();
      this.setFull(!this.data.full);
    }
  }

  destroy() {
    clearTimeout(this.timer);
    document.removeEventListener("keydown", this.onKey, true);
    document.removeEventListener("fullscreenchange", this.onScreen);
  }
}

export default mount((root) => new Stepper(root));
