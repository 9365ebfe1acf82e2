// The map of all masks. A lasso, a box and a click send places; which masks these are is decided by the server.
const MAX_TREMOR = 4; // pixels that the pointer may move in a click
const REST = 70; // milliseconds over a point until the server is asked about it
const NUM_BESIDE = 4; // points beside it that are asked about too: the pointer goes there next
const ZOOM_STEP = 1.6;
const KEYS = { l: "lasso", b: "box", v: "pan" };

class Scatter {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(name);
    [this.stage, this.points, this.over] = [".stage", ".points", ".over"].map(this.find);
    this.tool = "lasso";
    this.pointed = null; // code of the legend's entry under the pointer
    this.hovered = -1; // number of the point under the pointer
    this.stale = new Set(); // of "points" and "over": what the next frame draws; points draw what lies over them too
    this.frame = null;
    this.view = wholeView();
    this.selection = { text: "", bits: "", shapes: [] };
    this.listen();
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.stage);
    this.onPart = () => this.takeParts();
    scatterStore().listeners.add(this.onPart);
  }

  listen() {
    const { over } = this;
    over.onpointerdown = (event) => this.press(event);
    over.onpointermove = (event) => this.move(event);
    over.onpointerup = (event) => this.release(event);
    over.onpointercancel = () => this.drop();
    over.onpointerleave = () => this.leave();
    over.onwheel = (event) => this.wheel(event);
    over.onauxclick = over.oncontextmenu = (event) => event.preventDefault();
    for (const button of this.root.querySelectorAll("[data-tool]"))
      button.onclick = () => this.use(button.dataset.tool);
    this.find(".in").onclick = () => this.zoomBy(ZOOM_STEP);
    this.find(".out").onclick = () => this.zoomBy(1 / ZOOM_STEP);
    this.find(".fit").onclick = () => this.zoomBy(0);
    this.keydown = (event) => this.key(event);
    this.keyup = (event) => {
      if (event.key === " ") this.space = false;
      this.showCursor();
    };
    document.addEventListener("keydown", this.keydown);
    document.addEventListener("keyup", this.keyup);
  }

  update(data, send) {
    const before = this.data;
    Object.assign(this, { data, send });
    if (before?.points !== data.points)
      Object.assign(this, { view: wholeView(), set: null, selectionBytes: null, hovered: -1 });
    this.drawLegend();
    this.takeParts();
  }

  takeParts() {
    const bytes = scatterStore().parts.get("=selection");
    if (this.isReady() && bytes && bytes !== this.selectionBytes) {
      this.selectionBytes = bytes;
      this.selection = JSON.parse(new TextDecoder().decode(bytes));
      this.sentShape = null; // the server has answered: its outlines replace the one that was drawn
      this.selected = unpackBits(this.selection.bits, this.set.count);
      this.showSelected();
    }
    this.draw();
    this.showNote();
  }

  isReady() {
    const { parts } = scatterStore();
    if (!this.data || !parts.has(this.data.points) || !parts.has(this.data.codes)) return false;
    this.set ??= new PointSet(parts.get(this.data.points));
    this.codes = parts.get(this.data.codes);
    return true;
  }

  // ---- painting
  // Draw in the next frame all that was asked for until then, so that asking for less takes nothing back.
  redraw(layer) {
    this.stale.add(layer);
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      const all = this.stale.has("points");
      this.stale.clear();
      if (all) this.draw();
      else this.drawOver();
    });
  }

  draw() {
    const { stage, data, selected } = this,
      ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(stage.clientWidth * ratio), Math.round(stage.clientHeight * ratio)];
    for (const canvas of [this.points, this.over])
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    if (!this.isReady()) return;
    const ground = getComputedStyle(stage).backgroundColor;
    const look = {
      codes: this.codes,
      palette: data.palette,
      selected,
      code: this.pointed,
      ground,
      zoom: this.view.zoom,
    };
    const toDevice = this.toPixels().map((value) => value * ratio);
    this.set.paint(this.points, look, toDevice, ratio);
    this.drawOver();
  }

  toPixels() {
    const bounds = this.set ? this.set.bounds : [0, 0, SIDE, SIDE];
    return gridToPixels(bounds, [this.stage.clientWidth, this.stage.clientHeight], this.view);
  }

  drawOver() {
    const context = this.over.getContext("2d"),
      ratio = window.devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.over.width, this.over.height);
    if (!this.set) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const [scale, left, top] = this.toPixels();
    const toPixels = ([x, y]) => [x * scale + left, y * scale + top];
    const style = getComputedStyle(this.root.host ?? this.root);
    const [ink, accent] = [style.getPropertyValue("--st-text-color"), style.getPropertyValue("--st-primary-color")];
    for (const shape of this.sentShape ? [this.sentShape] : this.selection.shapes)
      drawOutline(context, shape.map(toPixels), ink, true);
    if (this.drawn) drawOutline(context, this.drawn.map(toPixels), accent, false);
    if (this.hovered < 0) return;
    context.beginPath();
    context.arc(...toPixels(this.placeOf(this.hovered)), dotRadius(this.set.count, this.view.zoom) + 3, 0, 7);
    Object.assign(context, { strokeStyle: ink, lineWidth: 2 });
    context.stroke();
  }

  placeOf(point) {
    return [this.set.places[2 * point], this.set.places[2 * point + 1]];
  }

  // ---- pointer
  pixelOf(event) {
    const box = this.over.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  placeAt(event) {
    const [x, y] = this.pixelOf(event),
      [scale, left, top] = this.toPixels();
    return [(x - left) / scale, (y - top) / scale];
  }

  press(event) {
    if (!this.set || (event.button !== 0 && event.button !== 1)) return;
    event.preventDefault();
    this.over.focus({ preventScroll: true });
    this.over.setPointerCapture(event.pointerId);
    this.start = [event.clientX, event.clientY];
    this.panFrom = event.button === 1 || this.space || this.tool === "pan" ? this.view : null;
    this.drawn = this.panFrom ? null : [this.placeAt(event)];
    this.dragged = false;
  }

  move(event) {
    if (!this.set) return;
    if (!this.start) {
      this.hover(event);
      return;
    }
    const [dx, dy] = [event.clientX - this.start[0], event.clientY - this.start[1]];
    this.dragged ||= Math.hypot(dx, dy) > MAX_TREMOR;
    const [scale] = this.toPixels();
    if (this.panFrom) {
      this.view = { ...this.view, x: this.panFrom.x - dx / scale, y: this.panFrom.y - dy / scale };
      this.redraw("points");
      return;
    }
    if (this.tool === "box") this.drawn = boxCorners(this.drawn[0], this.placeAt(event));
    else
      for (const each of event.getCoalescedEvents?.() ?? [event])
        this.drawn = extendLasso(this.drawn, this.placeAt(each), scale);
    this.hovered = -1;
    this.showNote();
    this.redraw("over");
  }

  release(event) {
    if (!this.start) return;
    const { dragged, drawn: corners, tool: kind } = this,
      add = event.shiftKey;
    this.drop();
    if (!corners) return; // the map was moved
    if (!dragged) {
      const [point] = this.pointsUnder(event);
      if (point !== undefined) this.send("action", { kind: "click", point, add });
    } else if (corners.length > 2) {
      this.sentShape = corners;
      const places = kind === "box" ? [corners[0], corners[2]] : corners;
      this.send("action", { kind, corners: places.map((place) => place.map(Math.round)), add });
    }
    this.drawOver();
  }

  drop() {
    Object.assign(this, { start: null, drawn: null, panFrom: null, dragged: false });
    this.drawOver();
  }

  leave() {
    this.hovered = -1;
    this.showNote();
    this.drawOver();
  }

  pointsUnder(event) {
    const [scale] = this.toPixels(),
      reach = (dotRadius(this.set.count, this.view.zoom) + 5) / scale;
    return this.set.near(...this.placeAt(event), reach, 1);
  }

  hover(event) {
    const [point = -1] = this.pointsUnder(event);
    this.pointer = event;
    if (point !== this.hovered) {
      this.hovered = point;
      clearTimeout(this.resting);
      if (point >= 0) this.resting = setTimeout(() => this.ask(point), REST);
      this.drawOver();
    }
    this.showCursor();
    this.showNote();
  }

  ask(point) {
    const { notes, ask } = scatterStore(),
      isUnknown = (i) => !notes.has(`${this.data.points}:${i}`);
    if (point !== this.hovered || !ask || !isUnknown(point)) return;
    const [scale] = this.toPixels();
    const beside = this.set.near(...this.placeOf(point), 60 / scale, 1 + NUM_BESIDE);
    ask(this.data.points, [...new Set([point, ...beside])].filter(isUnknown));
  }

  // The note beside the pointer: at once what the legend says, then the crop and what the server knows.
  showNote() {
    const tip = this.find(".tip"),
      point = this.hovered;
    tip.hidden = point < 0 || !this.set || !this.pointer;
    if (tip.hidden) return;
    const note = scatterStore().notes.get(`${this.data.points}:${point}`);
    const image = tip.querySelector("img");
    image.hidden = !note?.src;
    if (note?.src && image.src !== note.src) image.src = note.src;
    tip.querySelector(".title").textContent = note?.title ?? this.nameOf(point) ?? "";
    tip.querySelector(".lines").replaceChildren(...(note?.lines ?? []).map((text) => element("div", "", text)));
    const { offsetWidth, offsetHeight } = tip,
      { width, height } = this.over.getBoundingClientRect();
    const [left, top] = notePlace(this.pixelOf(this.pointer), [offsetWidth, offsetHeight], [width, height]);
    Object.assign(tip.style, { left: `${left}px`, top: `${top}px` });
  }

  nameOf(point) {
    return this.data.legend.find(({ code }) => code === this.codes[point])?.name;
  }

  // ---- zoom, tools, keys
  wheel(event) {
    const factor = wheelFactor(event);
    if (!this.set || (factor < 1 && this.view.zoom <= ZOOMS[0])) return; // then the page scrolls, as anywhere
    event.preventDefault();
    this.zoomBy(factor, this.placeAt(event));
  }

  zoomBy(factor, around) {
    this.view = zoomed(this.view, factor, around);
    this.redraw("points");
  }

  use(tool) {
    this.tool = tool;
    for (const button of this.root.querySelectorAll("[data-tool]"))
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    this.showCursor();
  }

  showCursor() {
    const pan = this.space || this.tool === "pan";
    this.over.style.cursor = pan ? "grab" : this.hovered >= 0 ? "pointer" : "crosshair";
  }

  key(event) {
    const isHere = this.root.activeElement === this.over || this.over.matches(":hover");
    if (!isHere || document.querySelector('[role="dialog"]')) return;
    if (isTyping(event) && event.key !== "Escape") return;
    const tool = KEYS[event.key.toLowerCase()];
    if (event.key === "Escape") {
      if (this.start) this.drop();
      else if (this.selected) this.send("action", { kind: "clear" });
    } else if (event.key === " ") {
      this.space = true;
      event.preventDefault(); // else the page scrolls
    } else if (event.key === "+" || event.key === "=") this.zoomBy(ZOOM_STEP);
    else if (event.key === "-") this.zoomBy(1 / ZOOM_STEP);
    else if (event.key === "0") this.zoomBy(0);
    else if (tool && !event.repeat) this.use(tool);
    this.showCursor();
  }

  // ---- legend
  drawLegend() {
    const { legend, scale, note } = this.data;
    const items = legend.map((item) => this.legendEntry(item));
    if (scale) items.unshift(colorScale(scale));
    this.pointed = null;
    this.find(".note").textContent = note;
    this.find(".legend").replaceChildren(...items);
    this.showSelected();
  }

  legendEntry(item) {
    const button = element("button", "item"),
      swatch = element("i"),
      count = item.count.toLocaleString("en");
    const point = (code) => {
      this.pointed = code;
      this.redraw("points");
    };
    swatch.style.background = item.color;
    button.append(swatch, element("span", "name", item.name), element("span", "count", count));
    button.title = `${item.name}: ${count} masks. Click to select them, with Shift to add them.`;
    button.type = "button";
    button.dataset.selection = item.selection;
    button.onclick = (event) => this.send("action", { kind: "legend", selection: item.selection, add: event.shiftKey });
    button.onpointerenter = () => point(item.code);
    button.onpointerleave = () => point(null);
    return button;
  }

  showSelected() {
    const terms = new Set(this.selection.text.split("~"));
    for (const button of this.find(".legend").querySelectorAll("button"))
      button.setAttribute("aria-pressed", String(terms.has(button.dataset.selection)));
    let count = 0;
    for (const bit of this.selected ?? []) count += bit;
    this.over.setAttribute("aria-label", `${this.data.label}, ${count} of them selected`);
  }

  destroy() {
    document.removeEventListener("keydown", this.keydown);
    document.removeEventListener("keyup", this.keyup);
    scatterStore().listeners.delete(this.onPart);
    clearTimeout(this.resting);
    cancelAnimationFrame(this.frame);
    this.observer.disconnect();
  }
}

function drawOutline(context, corners, color, dashed) {
  context.beginPath();
  corners.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
  context.closePath();
  Object.assign(context, { strokeStyle: color, lineWidth: dashed ? 1.2 : 2, lineJoin: "round", fillStyle: color });
  context.setLineDash(dashed ? [4, 4] : []);
  context.stroke();
  context.setLineDash([]);
  context.globalAlpha = dashed ? 0.04 : 0.12;
  context.fill("evenodd");
  context.globalAlpha = 1;
}

function colorScale({ low, high, gradient }) {
  const scale = element("span", "scale"),
    bar = element("i", "bar");
  bar.style.background = gradient;
  scale.append(element("span", "", low), bar, element("span", "", high));
  return scale;
}

export default mount((root) => new Scatter(root));
