// Histograms with thresholds on them. What stays is counted here, from curves, while a handle moves; the server follows
// when the hand rests, one question at a time.
const REST = 110; // milliseconds without a move after which the server is asked
const PATIENCE = 2500; // milliseconds after which an answer is not waited for any longer
const HEIGHT = 74; // of the bars, CSS pixels
const whole = new Intl.NumberFormat("en");

class Board {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(name);
    this.cards = new Map(); // signal -> Card
    this.turn = 0; // of the last move that was sent
    this.moved = {}; // field -> value, not sent yet
    this.observer = new ResizeObserver(() => this.cards.forEach((card) => card.draw()));
    this.observer.observe(this.find(".cards"));
  }

  update(data, send, set) {
    this.data = data;
    Object.assign(this, { send, set });
    if (data.turn >= this.turn) {
      this.turn = data.turn;
      this.asked = 0;
    }
    for (const item of data.cards) {
      if (!this.cards.has(item.signal)) {
        this.cards.set(item.signal, new Card(this, item));
        this.find(".cards").append(this.cards.get(item.signal).box);
      }
      this.cards.get(item.signal).update(item, data.active);
    }
    if (!this.waiting && !this.unsent) this.count(data.masks, data.photos);
  }

  get waiting() {
    return this.turn > this.data.turn;
  }

  get unsent() {
    return Object.keys(this.moved).length > 0;
  }

  // A handle moves: count at once, ask the server when the hand rests.
  move(handle, value, done) {
    this.moved[handle.field] = value;
    const at = place(handle.stops, value);
    this.count(pick(handle.masks, at), pick(handle.photos, at));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), done ? 0 : REST);
  }

  ask() {
    clearTimeout(this.timer);
    const now = performance.now();
    if (this.waiting && now - this.asked < PATIENCE) {
      this.timer = setTimeout(() => this.ask(), REST);
      return;
    }
    if (!this.unsent) return;
    this.turn += 1;
    this.asked = now;
    this.set("moved", { turn: this.turn, values: this.moved });
    this.moved = {};
  }

  choose(field) {
    if (field !== this.data.active) this.send("choose", field);
    this.data.active = field;
  }

  count(masks, photos) {
    this.show(".masks", masks, this.data.numMasks, "masks kept");
    this.show(".photos", photos, this.data.numPhotos, "photos keep a mask");
  }

  show(name, count, total, words) {
    const box = this.find(name);
    box.querySelector("b").textContent = whole.format(count);
    box.querySelector("span").textContent = `of ${whole.format(total)} ${words}`;
    box.querySelector("i").style.width = `${total ? (100 * count) / total : 0}%`;
  }

  destroy() {
    clearTimeout(this.timer);
    this.observer.disconnect();
  }
}

class Card {
  constructor(board, item) {
    this.board = board;
    this.power = item.power;
    this.unit = item.percent ? 100 : 1;
    this.stops = stopsOf(item.steps);
    this.box = element("section", "card");
    const head = element("div", "title");
    const name = element("h4", "", item.title);
    this.box.title = "";
    name.title = item.help;
    head.append(name);
    this.plot = element("div", "plot");
    this.bars = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    this.bars.setAttribute("aria-hidden", "true");
    this.plot.append(this.bars);
    this.handles = item.handles.map((handle) => new Handle(this, handle));
    for (const handle of this.handles) {
      head.append(handle.field);
      this.plot.append(handle.line);
    }
    this.note = element("div", "note");
    this.box.append(head, this.plot, this.axis(item), this.note);
    this.box.onpointerdown = () => board.choose(this.chosen);
    this.box.addEventListener("focusin", (event) => {
      this.current = this.handles.find((handle) => handle.owns(event.target)) || this.current;
      board.choose(this.chosen);
    });
  }

  axis(item) {
    const axis = element("div", "axis");
    for (const tick of item.ticks) {
      const mark = element("span", "", `${Math.round(tick * this.unit * 10) / 10}`);
      mark.style.left = `${100 * this.toPlace(tick)}%`;
      axis.append(mark);
    }
    if (item.percent) axis.lastChild.textContent += " %";
    return axis;
  }

  toPlace(value) {
    return Math.min(1, Math.max(0, value)) ** (1 / this.power);
  }

  toValue(part) {
    const value = Math.min(1, Math.max(0, part)) ** this.power;
    return this.stops[place(this.stops, value)];
  }

  update(item, active) {
    this.item = item;
    item.handles.forEach((handle, number) => this.handles[number].update(handle));
    this.active = item.handles.some((handle) => handle.field === active);
    this.box.classList.toggle("active", this.active);
    this.note.textContent = item.unmeasured ? `${whole.format(item.unmeasured)} not measured: they pass` : "";
    this.draw();
  }

  get chosen() {
    return (this.current || this.handles[0]).data.field;
  }

  // Bars in three layers: what passes, what this rule drops, what is dropped or kept whatever it says.
  draw() {
    const { free, accepted, elsewhere, signal: name } = this.item,
      width = this.plot.clientWidth;
    if (!width) return;
    const sums = free.map((count, bin) => count + accepted[bin] + elsewhere[bin]);
    const sorted = [...sums].sort((a, b) => b - a);
    // One bin that towers over all others, as of masks that touch no border, is cut off and numbered.
    const most = sorted[0] > 2.5 * sorted[1] && sorted[1] > 0 ? 1.35 * sorted[1] : Math.max(1, sorted[0]);
    const cut = sums.findIndex((count) => count > most);
    const stack = (low, part) => low.map((count, bin) => [Math.min(count, most), Math.min(count + part[bin], most)]);
    const nothing = free.map(() => 0),
      lower = free.map((count, bin) => count + accepted[bin]);
    const scale = { width, most };
    const [left, right] = this.range().map((value) => width * this.toPlace(value));
    this.bars.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.bars.innerHTML = `<defs>
      <pattern id="hatch-${name}" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect class="ground" width="5" height="5"/><rect class="stripe" width="2" height="5"/></pattern>
      <clipPath id="in-${name}"><rect x="${left}" y="0" width="${Math.max(0, right - left)}" height="${HEIGHT}"/></clipPath>
      <clipPath id="out-${name}"><rect x="0" y="0" width="${left}" height="${HEIGHT}"/><rect x="${right}" y="0" width="${Math.max(0, width - right)}" height="${HEIGHT}"/></clipPath>
    </defs>
    <path class="elsewhere" d="${outline(stack(lower, elsewhere), scale)}"/>
    <path class="kept" d="${outline(stack(nothing, accepted), scale)}"/>
    <path class="kept" clip-path="url(#in-${name})" d="${outline(stack(accepted, free), scale)}"/>
    <path fill="url(#hatch-${name})" clip-path="url(#out-${name})" d="${outline(stack(accepted, free), scale)}"/>`;
    if (cut >= 0) this.numberCut(cut, sums, width);
  }

  numberCut(bin, sums, width) {
    const text = document.createElementNS("http://www.w3.org/2000/svg", "text");
    const at = ((bin + 0.5) / sums.length) * width,
      start = at < width / 2;
    text.setAttribute("x", start ? at + width / sums.length : at - width / sums.length);
    text.setAttribute("y", 10);
    text.setAttribute("text-anchor", start ? "start" : "end");
    text.textContent = `↑ ${whole.format(sums[bin])}`;
    this.bars.append(text);
  }

  // From where to where the thresholds of this signal let masks pass.
  range() {
    let [low, high] = [0, 1];
    for (const handle of this.handles) {
      if (handle.data.dropsBelow) low = Math.max(low, handle.value);
      else high = Math.min(high, handle.value);
    }
    return [low, Math.max(low, high)];
  }
}

class Handle {
  constructor(card, data) {
    this.card = card;
    this.stops = card.stops;
    this.field = element("label", "field", "");
    this.input = element("input");
    Object.assign(this.input, { type: "number", min: 0, max: card.unit, step: "any" });
    this.input.setAttribute("aria-label", data.help);
    this.field.append(element("span", "", data.label), this.input);
    if (card.unit === 100) this.field.append(element("span", "", "%"));
    this.field.title = data.help;
    this.line = element("div", `line ${data.dropsBelow ? "least" : "most"}`);
    this.line.append(element("i"));
    this.line.tabIndex = 0;
    this.line.title = `${data.help} Drag, or use the arrow keys.`;
    for (const [name, value] of [
      ["role", "slider"],
      ["aria-label", data.help],
      ["aria-valuemin", 0],
      ["aria-valuemax", 1],
    ])
      this.line.setAttribute(name, value);
    this.listen();
  }

  get masks() {
    return this.data.masks;
  }

  get photos() {
    return this.data.photos;
  }

  owns(node) {
    return this.line.contains(node) || this.field.contains(node);
  }

  update(data) {
    this.data = data;
    const unsent = data.field in this.card.board.moved || this.held || this.card.board.waiting;
    if (!unsent) this.place(data.value);
  }

  place(value) {
    this.value = value;
    this.line.style.left = `${100 * this.card.toPlace(value)}%`;
    this.line.classList.toggle("off", value === this.data.neutral);
    this.line.setAttribute("aria-valuenow", value);
    this.line.setAttribute("aria-valuetext", this.words(value));
    if (this.card.board.root.activeElement !== this.input || !this.typing) this.input.value = this.shown(value);
  }

  shown(value) {
    return Number((value * this.card.unit).toFixed(4));
  }

  words(value) {
    return value === this.data.neutral
      ? "off"
      : `${this.data.label} ${this.shown(value)}${this.card.unit === 100 ? " percent" : ""}`;
  }

  go(value, done) {
    if (value === this.value && !done) return;
    this.place(value);
    this.card.draw();
    this.card.board.move(
      { field: this.data.field, stops: this.stops, masks: this.masks, photos: this.photos },
      value,
      done,
    );
  }

  listen() {
    const { line, input } = this;
    line.onpointerdown = (event) => {
      line.setPointerCapture(event.pointerId);
      this.held = true;
      this.card.current = this;
      const box = this.card.plot.getBoundingClientRect();
      this.grip = event.clientX - box.left - box.width * this.card.toPlace(this.value);
      line.focus({ preventScroll: true });
      event.preventDefault();
    };
    line.onpointermove = (event) => {
      if (!this.held) return;
      const box = this.card.plot.getBoundingClientRect();
      this.go(this.card.toValue((event.clientX - this.grip - box.left) / box.width), false);
    };
    line.onpointerup =
      line.onpointercancel =
      line.onlostpointercapture =
        () => {
          if (!this.held) return;
          this.held = false;
          if (this.data.field in this.card.board.moved) this.go(this.value, true);
        };
    line.onkeydown = (event) => this.onKey(event);
    input.onfocus = () => {
      this.card.current = this;
    };
    input.oninput = () => {
      this.typing = true;
    };
    input.onchange = () => this.type();
    input.onkeydown = (event) => {
      if (event.key === "Enter") this.type();
      if (event.key === "Escape") {
        this.typing = false;
        this.place(this.value);
      }
    };
  }

  onKey(event) {
    const last = this.stops.length - 1,
      at = place(this.stops, this.value);
    const steps = {
      ArrowRight: 1,
      ArrowUp: 1,
      ArrowLeft: -1,
      ArrowDown: -1,
      PageUp: 10,
      PageDown: -10,
      Home: -last,
      End: last,
    };
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.go(this.stops[Math.min(last, Math.max(0, at + steps[event.key]))], false);
  }

  type() {
    this.typing = false;
    const value = Number(this.input.value) / this.card.unit;
    if (this.input.value === "" || Number.isNaN(value)) {
      this.place(this.value);
      return;
    }
    const inside = Math.round(1e6 * Math.min(1, Math.max(0, value))) / 1e6;
    if (inside === this.value) this.place(inside);
    else this.go(inside, true);
  }
}

// The values that a handle stops at, as the server has them.
function stopsOf(steps) {
  const stops = [0];
  for (const [end, step] of steps) {
    const low = Math.round(stops[stops.length - 1] / step);
    for (let at = low + 1; at <= Math.round(end / step); at += 1) stops.push(Math.round(at * step * 1e6) / 1e6);
  }
  return stops;
}

// Number of the stop that is nearest to a value.
function place(stops, value) {
  let low = 0,
    high = stops.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (stops[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value - stops[low - 1] < stops[low] - value ? low - 1 : low;
}

function pick(counts, at) {
  return counts.length === 1 ? counts[0] : counts[at];
}

// One path around bars that are given as [low, high] counts.
function outline(bars, { width, most }) {
  const wide = width / bars.length,
    gap = wide > 4 ? 0.6 : 0;
  const y = (count) => (HEIGHT * (1 - count / most)).toFixed(1);
  return bars
    .map(([low, high], bin) => {
      if (high <= low) return "";
      const [left, right] = [(bin * wide + gap).toFixed(1), ((bin + 1) * wide).toFixed(1)];
      return `M${left} ${y(low)}V${y(high)}H${right}V${y(low)}Z`;
    })
    .join("");
}

export default mount((root) => new Board(root));
