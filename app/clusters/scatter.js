// The map of all masks: lasso, box and click send places; which masks are meant is decided by the server.
const CLICK = 4; // pixels that a hand may tremble in a click
const REST = 70; // milliseconds over a point until more is asked about it
const NEIGHBOURS = 4; // points beside it that are asked about too: the pointer goes there next
const PADS = [16, 44, 16, 30]; // pixels left, above, right and below of the points: tools and hints lie there
const ZOOMS = [1, 60];
const KEYS = { l: "lasso", b: "box", v: "pan" };

class Scatter {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(name);
    this.points = this.find(".points");
    this.over = this.find(".over");
    this.tool = "lasso";
    this.spotlight = null; // code of the legend under the pointer
    this.hovered = -1;
    this.stale = new Set(); // of "points" and "over": what the next frame draws; points draw what lies over them too
    this.frame = null;
    this.view = { zoom: 1, x: SIDE / 2, y: SIDE / 2 }; // the place in the middle of the picture
    this.listen();
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(this.find(".stage"));
    this.heard = () => this.hear();
    this.look = { text: "", bits: "", shapes: [] };
    scatterStore().listeners.add(this.heard);
  }

  listen() {
    const { over } = this;
    over.onpointerdown = (event) => this.press(event);
    over.onpointermove = (event) => this.move(event);
    over.onpointerup = (event) => this.release(event);
    over.onpointercancel = () => this.drop();
    over.onpointerleave = () => {
      this.hovered = -1;
      this.tell();
      this.drawOver();
    };
    over.onwheel = (event) => this.wheel(event);
    over.onauxclick = over.oncontextmenu = (event) => event.preventDefault();
    this.root.querySelectorAll("[data-tool]").forEach((button) => {
      button.onclick = () => this.use(button.dataset.tool);
    });
    this.find(".in").onclick = () => this.zoomBy(1.6);
    this.find(".out").onclick = () => this.zoomBy(1 / 1.6);
    this.find(".fit").onclick = () => this.fit();
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
    if (!before || before.points !== data.points) {
      this.view = { zoom: 1, x: SIDE / 2, y: SIDE / 2 };
      this.set = null;
      this.raw = null;
      this.hovered = -1;
    }
    this.drawLegend();
    this.hear();
  }

  hear() {
    const raw = scatterStore().parts.get("=look");
    if (this.ready() && raw && raw !== this.raw) {
      this.raw = raw;
      this.look = JSON.parse(new TextDecoder().decode(raw));
      this.waiting = null; // the server has answered: its outlines stand in place of the hand's
      this.bits = unpackBits(this.look.bits, this.set.count);
      this.showChosen();
    }
    this.draw();
    this.tell();
  }

  // ---- painting
  ready() {
    const { parts } = scatterStore();
    if (!this.data || !parts.has(this.data.points) || !parts.has(this.data.codes)) return false;
    this.set ??= new PointSet(parts.get(this.data.points));
    this.codes = parts.get(this.data.codes);
    return true;
  }

  draw() {
    const stage = this.find(".stage"),
      ratio = window.devicePixelRatio || 1;
    for (const canvas of [this.points, this.over]) {
      const [width, height] = [Math.round(stage.clientWidth * ratio), Math.round(stage.clientHeight * ratio)];
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    }
    if (!this.ready()) return;
    const began = performance.now();
    const ground = getComputedStyle(stage).backgroundColor;
    const look = {
      codes: this.codes,
      palette: this.data.palette,
      bits: this.bits,
      code: this.spotlight,
      ground,
      zoom: this.view.zoom,
    };
    this.set.paint(
      this.points,
      look,
      this.place().map((value) => value * ratio),
      ratio,
    );
    this.root.host?.setAttribute("data-paint-ms", (performance.now() - began).toFixed(1));
    this.drawOver();
  }

  // Grid to CSS pixels: [scale, left, top].
  place() {
    const stage = this.find(".stage"),
      [x0, y0, x1, y1] = this.set ? this.set.box : [0, 0, SIDE, SIDE];
    const [width, height] = [
      Math.max(1, stage.clientWidth - PADS[0] - PADS[2]),
      Math.max(1, stage.clientHeight - PADS[1] - PADS[3]),
    ];
    const scale = Math.min(width / Math.max(1, x1 - x0), height / Math.max(1, y1 - y0), 0.05) * this.view.zoom;
    return [scale, PADS[0] + width / 2 - this.view.x * scale, PADS[1] + height / 2 - this.view.y * scale];
  }

  drawOver() {
    const context = this.over.getContext("2d"),
      ratio = window.devicePixelRatio || 1;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.over.width, this.over.height);
    if (!this.set) return;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const [scale, left, top] = this.place();
    const toPixels = ([x, y]) => [x * scale + left, y * scale + top];
    const style = getComputedStyle(this.root.host ?? this.root);
    const [ink, accent] = [style.getPropertyValue("--st-text-color"), style.getPropertyValue("--st-primary-color")];
    for (const shape of this.waiting ? [this.waiting] : this.look.shapes)
      this.line(context, shape.map(toPixels), ink, true);
    if (this.drawn) this.line(context, this.corners().map(toPixels), accent, false);
    if (this.hovered >= 0) {
      const [x, y] = toPixels(this.placeOf(this.hovered));
      context.beginPath();
      context.arc(x, y, this.set.radius(this.view.zoom) + 3, 0, 7);
      Object.assign(context, { strokeStyle: ink, lineWidth: 2 });
      context.stroke();
    }
  }

  line(context, corners, colour, dashed) {
    context.beginPath();
    corners.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
    Object.assign(context, { strokeStyle: colour, lineWidth: dashed ? 1.2 : 2, lineJoin: "round", fillStyle: colour });
    context.setLineDash(dashed ? [4, 4] : []);
    context.stroke();
    context.setLineDash([]);
    context.globalAlpha = dashed ? 0.04 : 0.12;
    context.fill("evenodd");
    context.globalAlpha = 1;
  }

  placeOf(point) {
    return [this.set.places[2 * point], this.set.places[2 * point + 1]];
  }

  // ---- the hand
  at(event) {
    const box = this.over.getBoundingClientRect(),
      [scale, left, top] = this.place();
    return [(event.clientX - box.left - left) / scale, (event.clientY - box.top - top) / scale];
  }

  press(event) {
    if (!this.set || (event.button !== 0 && event.button !== 1)) return;
    event.preventDefault();
    this.over.focus({ preventScroll: true });
    this.over.setPointerCapture(event.pointerId);
    this.start = [event.clientX, event.clientY];
    this.panning = event.button === 1 || this.space || this.tool === "pan" ? { ...this.view } : null;
    this.drawn = this.panning ? null : [this.at(event)];
    this.far = false;
  }

  move(event) {
    if (!this.set) return;
    if (!this.start) return this.hover(event);
    const [dx, dy] = [event.clientX - this.start[0], event.clientY - this.start[1]];
    this.far ||= Math.hypot(dx, dy) > CLICK;
    if (this.panning) {
      const [scale] = this.place();
      Object.assign(this.view, { x: this.panning.x - dx / scale, y: this.panning.y - dy / scale });
      return this.redraw("points");
    }
    if (this.tool === "box") this.drawn = [this.drawn[0], this.at(event)];
    else for (const each of event.getCoalescedEvents?.() ?? [event]) this.extend(this.at(each));
    this.hovered = -1;
    this.tell();
    return this.redraw("over");
  }

  extend(place) {
    const [scale] = this.place(),
      last = this.drawn[this.drawn.length - 1];
    if (Math.hypot(place[0] - last[0], place[1] - last[1]) * scale >= 3) this.drawn.push(place);
  }

  corners() {
    if (this.tool !== "box" || this.drawn.length < 2) return this.drawn;
    const [[x0, y0], [x1, y1]] = this.drawn;
    return [
      [x0, y0],
      [x1, y0],
      [x1, y1],
      [x0, y1],
    ];
  }

  release(event) {
    if (!this.start) return;
    const { far, panning } = this,
      corners = panning ? null : this.corners(),
      kind = this.tool;
    this.drop();
    if (panning) return;
    const add = event.shiftKey;
    if (!far) {
      const [point] = this.under(event);
      if (point !== undefined) this.send("act", { kind: "click", point, add });
    } else if (corners.length > 2) {
      this.waiting = corners;
      const places = kind === "box" ? [corners[0], corners[2]] : corners;
      this.send("act", { kind, corners: places.map((place) => place.map(Math.round)), add });
    }
    this.drawOver();
  }

  drop() {
    Object.assign(this, { start: null, drawn: null, panning: null, far: false });
    this.drawOver();
  }

  under(event, most = 1) {
    const [scale] = this.place(),
      reach = (this.set.radius(this.view.zoom) + 5) / scale;
    return this.set.near(...this.at(event), reach, most);
  }

  hover(event) {
    const [point = -1] = this.under(event);
    this.pointer = event;
    this.showCursor();
    if (point !== this.hovered) {
      this.hovered = point;
      clearTimeout(this.resting);
      if (point >= 0) this.resting = setTimeout(() => this.ask(point), REST);
      this.drawOver();
    }
    this.tell();
  }

  ask(point) {
    const store = scatterStore(),
      unknown = (i) => !store.known.has(`${this.data.points}:${i}`);
    if (point !== this.hovered || !store.wish || !unknown(point)) return;
    const [scale] = this.place();
    const beside = this.set.near(...this.placeOf(point), 60 / scale, 1 + NEIGHBOURS);
    store.wish(this.data.points, [...new Set([point, ...beside])].filter(unknown));
  }

  // The note beside the pointer: at once what the legend says, then the crop and what the server knows.
  tell() {
    const tip = this.find(".tip"),
      point = this.hovered;
    tip.hidden = point < 0 || !this.set || !this.pointer;
    if (tip.hidden) return;
    const known = scatterStore().known.get(`${this.data.points}:${point}`);
    const image = tip.querySelector("img");
    image.hidden = !known?.src;
    if (known?.src && image.src !== known.src) image.src = known.src;
    tip.querySelector(".title").textContent = known?.title ?? this.data.names[this.codes[point]] ?? "";
    tip.querySelector(".lines").replaceChildren(...(known?.lines ?? []).map((text) => element("div", "", text)));
    const box = this.over.getBoundingClientRect();
    const [x, y] = [this.pointer.clientX - box.left, this.pointer.clientY - box.top];
    tip.style.left = `${x + 18 + tip.offsetWidth > box.width ? x - 14 - tip.offsetWidth : x + 18}px`;
    tip.style.top = `${Math.max(4, Math.min(y - 20, box.height - tip.offsetHeight - 4))}px`;
  }

  // ---- zoom, tools, keys
  wheel(event) {
    const factor = Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016));
    if (!this.set || (factor < 1 && this.view.zoom <= ZOOMS[0])) return; // then the page scrolls, as anywhere
    event.preventDefault();
    this.zoomBy(factor, this.at(event));
  }

  zoomBy(factor, around = [this.view.x, this.view.y]) {
    const zoom = Math.max(ZOOMS[0], Math.min(ZOOMS[1], this.view.zoom * factor)),
      share = this.view.zoom / zoom;
    if (zoom === ZOOMS[0]) return this.fit();
    this.view = {
      zoom,
      x: around[0] + (this.view.x - around[0]) * share,
      y: around[1] + (this.view.y - around[1]) * share,
    };
    return this.redraw("points");
  }

  fit() {
    this.view = { zoom: 1, x: SIDE / 2, y: SIDE / 2 };
    this.redraw("points");
  }

  // Draw in the next frame: all that was asked for until then, so that asking for less takes nothing back.
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

  use(tool) {
    this.tool = tool;
    this.root
      .querySelectorAll("[data-tool]")
      .forEach((button) => button.setAttribute("aria-pressed", String(button.dataset.tool === tool)));
    this.showCursor();
  }

  showCursor() {
    const pan = this.space || this.tool === "pan";
    this.over.style.cursor = pan ? "grab" : this.hovered >= 0 ? "pointer" : "crosshair";
  }

  key(event) {
    const focused = this.root.activeElement === this.over,
      here = focused || this.over.matches(":hover");
    if (!here || document.querySelector('[role="dialog"]')) return;
    if (isTyping(event) && event.key !== "Escape") return;
    if (event.key === "Escape") {
      if (this.start) this.drop();
      else if (this.bits) this.send("act", { kind: "clear" });
    } else if (event.key === " ") this.space = true;
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.6);
    else if (event.key === "-") this.zoomBy(1 / 1.6);
    else if (event.key === "0") this.fit();
    else if (KEYS[event.key.toLowerCase()] && !event.repeat) this.use(KEYS[event.key.toLowerCase()]);
    else return;
    if (event.key === " ") event.preventDefault(); // else the page scrolls
    this.showCursor();
  }

  // ---- legend
  drawLegend() {
    const { legend, ramp } = this.data;
    const items = legend.map((item) => {
      const button = element("button", "item");
      const swatch = element("i");
      swatch.style.background = item.colour;
      button.append(
        swatch,
        element("span", "name", item.name),
        element("span", "count", item.count.toLocaleString("en")),
      );
      button.title = `${item.name}: ${item.count.toLocaleString("en")} masks. Click to select them, with Shift to add them.`;
      button.type = "button";
      button.dataset.pick = item.pick;
      button.onclick = (event) => this.send("act", { kind: "legend", pick: item.pick, add: event.shiftKey });
      button.onpointerenter = () => {
        this.spotlight = item.code;
        this.redraw("points");
      };
      button.onpointerleave = () => {
        this.spotlight = null;
        this.redraw("points");
      };
      return button;
    });
    if (ramp) {
      const scale = element("span", "scale"),
        bar = element("i", "bar");
      bar.style.background = ramp.gradient;
      scale.append(element("span", "", ramp.low), bar, element("span", "", ramp.high));
      items.unshift(scale);
    }
    this.spotlight = null;
    this.find(".note").textContent = this.data.note;
    this.find(".legend").replaceChildren(...items);
    this.showChosen();
  }

  showChosen() {
    const chosen = new Set(this.look.text.split("~"));
    this.find(".legend")
      .querySelectorAll("button")
      .forEach((button) => button.setAttribute("aria-pressed", String(chosen.has(button.dataset.pick))));
    const count = this.bits ? this.bits.reduce((sum, bit) => sum + bit, 0) : 0;
    this.over.setAttribute("aria-label", `${this.data.label}, ${count} of them selected`);
  }

  destroy() {
    document.removeEventListener("keydown", this.keydown);
    document.removeEventListener("keyup", this.keyup);
    scatterStore().listeners.delete(this.heard);
    clearTimeout(this.resting);
    cancelAnimationFrame(this.frame);
    this.observer.disconnect();
  }
}

export default mount((root) => new Scatter(root));
