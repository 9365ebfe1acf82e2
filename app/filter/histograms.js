// Histograms with thresholds on them. What is kept is counted here, from curves, while a handle moves; the server is
// asked when the handle rests, one question at a time.
const REST = 110; // milliseconds without a move after which the server is asked
const MAX_WAIT = 2500; // milliseconds after which an answer is not waited for any longer
const HEIGHT = 74; // of the bars, CSS pixels
const SVG = "http://www.w3.org/2000/svg";
const integer = new Intl.NumberFormat("en");

class Histograms {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(name);
    this.histograms = new Map(); // by signal
    this.turn = 0; // of the last question
    this.unsent = {}; // values by field
    this.observer = new ResizeObserver(() => this.histograms.forEach((histogram) => histogram.draw()));
    this.observer.observe(this.find(".cards"));
  }

  update(data, send, set) {
    Object.assign(this, { data, send, set });
    if (data.turn >= this.turn) Object.assign(this, { turn: data.turn, askedAt: 0 });
    for (const item of data.cards) {
      if (!this.histograms.has(item.signal)) {
        this.histograms.set(item.signal, new Histogram(this, item));
        this.find(".cards").append(this.histograms.get(item.signal).box);
      }
      this.histograms.get(item.signal).update(item, data.active);
    }
    if (!this.isWaiting && !this.hasUnsent) this.showCounts(data.masks, data.photos);
  }

  get isWaiting() {
    return this.turn > this.data.turn;
  }

  get hasUnsent() {
    return Object.keys(this.unsent).length > 0;
  }

  // A handle moves: show the counts at once, ask the server when it rests.
  move(handle, done) {
    const { field, masks, photos } = handle.data;
    this.unsent[field] = handle.value;
    const stop = nearestStop(handle.stops, handle.value);
    this.showCounts(countAt(masks, stop), countAt(photos, stop));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.ask(), done ? 0 : REST);
  }

  ask() {
    clearTimeout(this.timer);
    const now = performance.now();
    if (this.isWaiting && now - this.askedAt < MAX_WAIT) {
      this.timer = setTimeout(() => this.ask(), REST);
      return;
    }
    if (!this.hasUnsent) return;
    this.turn += 1;
    this.askedAt = now;
    this.set("moved", { turn: this.turn, values: this.unsent });
    this.unsent = {};
  }

  activate(field) {
    if (field !== this.data.active) this.send("choose", field);
    this.data.active = field;
  }

  showCounts(masks, photos) {
    this.showCount(".masks", masks, this.data.numMasks, "masks kept");
    this.showCount(".photos", photos, this.data.numPhotos, "photos keep a mask");
  }

  showCount(name, count, total, text) {
    const box = this.find(name);
    box.querySelector("b").textContent = integer.format(count);
    box.querySelector("span").textContent = `of ${integer.format(total)} ${text}`;
    box.querySelector("i").style.width = `${total ? (100 * count) / total : 0}%`;
  }

  destroy() {
    clearTimeout(this.timer);
    this.observer.disconnect();
  }
}

class Histogram {
  constructor(parent, item) {
    this.parent = parent;
    this.power = item.power;
    this.unit = item.percent ? 100 : 1;
    this.stops = stopsOf(item.steps);
    this.box = element("section", "card");
    const head = element("div", "title"),
      name = element("h4", "", item.title);
    name.title = item.help;
    head.append(name);
    this.plot = element("div", "plot");
    this.bars = document.createElementNS(SVG, "svg");
    this.bars.setAttribute("aria-hidden", "true");
    this.plot.append(this.bars);
    this.handles = item.handles.map((handle) => new Handle(this, handle));
    head.append(...this.handles.map((handle) => handle.field));
    this.plot.append(...this.handles.map((handle) => handle.line));
    this.note = element("div", "note");
    this.box.append(head, this.plot, this.axis(item), this.note);
    this.box.onpointerdown = () => parent.activate(this.current.data.field);
    this.box.addEventListener("focusin", (event) => {
      this.used = this.handles.find((handle) => handle.owns(event.target)) || this.used;
      parent.activate(this.current.data.field);
    });
  }

  // The handle that was used last.
  get current() {
    return this.used || this.handles[0];
  }

  axis(item) {
    const axis = element("div", "axis");
    for (const tick of item.ticks) {
      const mark = element("span", "", `${Math.round(tick * this.unit * 10) / 10}`);
      mark.style.left = `${100 * toPlace(tick, this.power)}%`;
      axis.append(mark);
    }
    if (item.percent) axis.lastChild.textContent += " %";
    return axis;
  }

  update(item, active) {
    this.item = item;
    item.handles.forEach((handle, number) => this.handles[number].update(handle));
    this.box.classList.toggle(
      "active",
      item.handles.some((handle) => handle.field === active),
    );
    this.note.textContent = item.unmeasured ? `${integer.format(item.unmeasured)} not measured: they pass` : "";
    this.draw();
  }

  // Bars in three layers: what passes, what this rule drops, what is dropped or kept whatever it says.
  draw() {
    const { free, accepted, elsewhere, signal } = this.item,
      width = this.plot.clientWidth;
    if (!width) return;
    const own = free.map((count, bin) => count + accepted[bin]),
      sums = own.map((count, bin) => count + elsewhere[bin]);
    const [top, cut] = axisTop(sums),
      size = { width, height: HEIGHT, top };
    const thresholds = this.handles.map(({ data, value }) => ({ dropsBelow: data.dropsBelow, value }));
    const [left, right] = passingRange(thresholds).map((value) => width * toPlace(value, this.power));
    const ground = free.map(() => 0),
      freeBars = barsPath(accepted, free, size);
    const clip = (x, wide) => `<rect x="${x}" y="0" width="${Math.max(0, wide)}" height="${HEIGHT}"/>`;
    this.bars.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    this.bars.innerHTML = `<defs>
      <pattern id="hatch-${signal}" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
        <rect class="ground" width="5" height="5"/><rect class="stripe" width="2" height="5"/></pattern>
      <clipPath id="in-${signal}">${clip(left, right - left)}</clipPath>
      <clipPath id="out-${signal}">${clip(0, left)}${clip(right, width - right)}</clipPath>
    </defs>
    <path class="elsewhere" d="${barsPath(own, elsewhere, size)}"/>
    <path class="kept" d="${barsPath(ground, accepted, size)}"/>
    <path class="kept" clip-path="url(#in-${signal})" d="${freeBars}"/>
    <path fill="url(#hatch-${signal})" clip-path="url(#out-${signal})" d="${freeBars}"/>`;
    if (cut >= 0) this.numberBar(cut, sums, width);
  }

  numberBar(bin, sums, width) {
    const text = document.createElementNS(SVG, "text");
    const middle = ((bin + 0.5) / sums.length) * width,
      isLeft = middle < width / 2;
    text.setAttribute("x", middle + (isLeft ? width : -width) / sums.length);
    text.setAttribute("y", 10);
    text.setAttribute("text-anchor", isLeft ? "start" : "end");
    text.textContent = `↑ ${integer.format(sums[bin])}`;
    this.bars.append(text);
  }
}

class Handle {
  constructor(histogram, data) {
    this.histogram = histogram;
    this.stops = histogram.stops;
    this.field = element("label", "field");
    this.field.title = data.help;
    this.input = element("input");
    Object.assign(this.input, { type: "number", min: 0, max: histogram.unit, step: "any", ariaLabel: data.help });
    this.field.append(element("span", "", data.label), this.input);
    if (histogram.unit === 100) this.field.append(element("span", "", "%"));
    this.line = element("div", `line ${data.dropsBelow ? "least" : "most"}`);
    this.line.append(element("i"));
    Object.assign(this.line, { tabIndex: 0, title: `${data.help} Drag, or use the arrow keys.` });
    Object.assign(this.line, { role: "slider", ariaLabel: data.help, ariaValueMin: 0, ariaValueMax: 1 });
    this.listen();
  }

  owns(node) {
    return this.line.contains(node) || this.field.contains(node);
  }

  update(data) {
    this.data = data;
    const { parent } = this.histogram;
    if (!(data.field in parent.unsent || this.offset !== undefined || parent.isWaiting)) this.show(data.value);
  }

  show(value) {
    const { power, unit, parent } = this.histogram,
      number = Number((value * unit).toFixed(4)),
      isOff = value === this.data.neutral;
    this.value = value;
    this.line.style.left = `${100 * toPlace(value, power)}%`;
    this.line.classList.toggle("off", isOff);
    this.line.ariaValueNow = value;
    this.line.ariaValueText = isOff ? "off" : `${this.data.label} ${number}${unit === 100 ? " percent" : ""}`;
    if (parent.root.activeElement !== this.input || !this.isTyping) this.input.value = number;
  }

  moveTo(value, done) {
    if (value === this.value && !done) return;
    this.show(value);
    this.histogram.draw();
    this.histogram.parent.move(this, done);
  }

  listen() {
    const { line, input } = this;
    line.onpointerdown = (event) => this.grip(event);
    line.onpointermove = (event) => this.drag(event);
    line.onpointerup = line.onpointercancel = line.onlostpointercapture = () => this.letGo();
    line.onkeydown = (event) => this.key(event);
    input.oninput = () => {
      this.isTyping = true;
    };
    input.onchange = () => this.type();
    input.onkeydown = (event) => {
      if (event.key === "Enter") this.type();
      if (event.key !== "Escape") return;
      this.isTyping = false;
      this.show(this.value);
    };
  }

  grip(event) {
    const { plot, power } = this.histogram,
      box = plot.getBoundingClientRect();
    this.line.setPointerCapture(event.pointerId);
    this.offset = event.clientX - box.left - box.width * toPlace(this.value, power);
    this.line.focus({ preventScroll: true });
    event.preventDefault();
  }

  drag(event) {
    if (this.offset === undefined) return;
    const { plot, power } = this.histogram,
      box = plot.getBoundingClientRect();
    const value = fromPlace((event.clientX - this.offset - box.left) / box.width, power);
    this.moveTo(this.stops[nearestStop(this.stops, value)], false);
  }

  letGo() {
    if (this.offset === undefined) return;
    this.offset = undefined;
    if (this.data.field in this.histogram.parent.unsent) this.moveTo(this.value, true);
  }

  key(event) {
    const value = stopAfterKey(event.key, this.stops, this.value);
    if (value === null || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.moveTo(value, false);
  }

  type() {
    this.isTyping = false;
    const value = typedValue(this.input.value, this.histogram.unit);
    if (value === null || value === this.value) this.show(this.value);
    else this.moveTo(value, true);
  }
}

export default mount((root) => new Histograms(root));
