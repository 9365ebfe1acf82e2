// The photo with its masks: opacity, outline and hiding happen here, without asking the server; a click sends a point.

class PhotoView {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(name);
    this.mode = "masks";
    this.hidden = false;
    this.off = new Set(); // numbers of masks that are switched off
    this.images = new Map(); // data URL -> loaded picture
    this.frame = this.find(".frame");
    this.canvas = this.find("canvas");
    this.listen();
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(this.find(".stage"));
  }

  listen() {
    this.find(".opacity").oninput = () => this.draw();
    this.find(".outline").onchange = () => this.draw();
    this.find(".to-masks").onclick = () => this.show("masks");
    this.find(".to-map").onclick = () => this.show("map");
    const hide = this.find(".hide");
    hide.onpointerdown = (event) => {
      hide.setPointerCapture(event.pointerId);
      this.hold(true);
    };
    hide.onpointerup = hide.onpointercancel = hide.onlostpointercapture = () => this.hold(false);
    this.keydown = (event) => this.onKey(event, true);
    this.keyup = (event) => this.onKey(event, false);
    document.addEventListener("keydown", this.keydown);
    document.addEventListener("keyup", this.keyup);
    this.frame.onpointermove = (event) => this.outlinePatch(".hover", this.patchAt(event));
    this.frame.onpointerleave = () => this.outlinePatch(".hover", null);
    this.frame.onclick = (event) => this.click(event);
  }

  onKey(event, down) {
    if (event.key.toLowerCase() === "h" && !isTyping(event)) this.hold(down);
  }

  hold(hidden) {
    this.hidden = hidden;
    this.find(".hide").classList.toggle("held", hidden);
    this.draw();
  }

  show(mode) {
    this.mode = mode === "map" && this.data.map ? "map" : "masks";
    this.draw();
  }

  update(data, send) {
    const before = this.data;
    this.data = data;
    this.send = send;
    const photo = this.find(".photo");
    if (photo.src !== data.src) {
      photo.src = data.src;
      photo.alt = data.label;
    }
    if (before && before.label !== data.label) {
      this.off.clear();
      this.mode = "masks";
    }
    const chosen = data.chosen && JSON.stringify(data.chosen);
    if (chosen && (!before || chosen !== JSON.stringify(before.chosen))) this.mode = "map";
    if (this.mode === "map" && !data.map) this.mode = "masks";
    if (data.map) this.find(".map").src = data.map.src;
    this.find(".to-map").disabled = !data.map;
    this.listMasks();
    this.fit();
  }

  fit() {
    if (!this.data) return;
    const room = this.find(".stage").clientWidth;
    const width = Math.min(room, this.data.maxHeight * this.data.aspect);
    this.frame.style.width = `${width}px`;
    this.frame.style.height = `${width / this.data.aspect}px`;
    this.draw();
  }

  async load(src) {
    if (!this.images.has(src)) {
      if (this.images.size > 40) this.images.clear();
      const image = new Image();
      image.src = src;
      this.images.set(
        src,
        image.decode().then(() => image),
      );
    }
    return this.images.get(src);
  }

  async draw() {
    if (!this.data) return;
    const turn = (this.turn = (this.turn || 0) + 1);
    const onMap = this.mode === "map";
    this.find(".to-masks").setAttribute("aria-pressed", String(!onMap));
    this.find(".to-map").setAttribute("aria-pressed", String(onMap));
    this.drawMap(onMap && !this.hidden);
    this.outlinePatch(".chosen", onMap && !this.hidden ? this.data.map.patch : null);
    const layers = await Promise.all(this.data.masks.map((mask) => this.load(mask.src)));
    if (turn !== this.turn) return; // a newer drawing has begun
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.frame.clientWidth * ratio);
    this.canvas.height = Math.round(this.frame.clientHeight * ratio);
    if (this.hidden || onMap || !this.canvas.width) return;
    const place = [0, 0, this.canvas.width, this.canvas.height];
    const [opacity, rim] = [this.find(".opacity").value / 100, this.find(".outline").checked ? 1.75 * ratio : 0];
    for (let number = layers.length - 1; number >= 0; number -= 1) {
      if (!this.off.has(number)) paintLayer(this.canvas, layers[number], place, opacity, rim);
    }
  }

  drawMap(visible) {
    const map = this.find(".map"),
      legend = this.find(".legend");
    map.style.display = visible ? "block" : "none";
    legend.style.display = visible ? "flex" : "none";
    if (!this.data.map) return;
    const { fx, fy, ends, gradient } = this.data.map;
    Object.assign(map.style, {
      width: `${100 * fx}%`,
      height: `${100 * fy}%`,
      opacity: 0.45 + this.find(".opacity").value / 182,
    });
    this.find(".low").textContent = ends[0];
    this.find(".high").textContent = ends[1];
    this.find(".ramp").style.background = gradient;
  }

  patchAt(event) {
    const box = this.frame.getBoundingClientRect();
    const { rows, cols, fx, fy } = this.data.grid;
    const col = Math.floor(((event.clientX - box.left) / box.width / fx) * cols);
    const row = Math.floor(((event.clientY - box.top) / box.height / fy) * rows);
    return [Math.min(Math.max(row, 0), rows - 1), Math.min(Math.max(col, 0), cols - 1)];
  }

  outlinePatch(name, patch) {
    const cell = this.find(name);
    cell.style.display = patch ? "block" : "none";
    if (!patch) return;
    const { rows, cols, fx, fy } = this.data.grid;
    const [width, height] = [(100 * fx) / cols, (100 * fy) / rows];
    Object.assign(cell.style, {
      left: `${patch[1] * width}%`,
      top: `${patch[0] * height}%`,
      width: `${width}%`,
      height: `${height}%`,
    });
  }

  click(event) {
    const box = this.frame.getBoundingClientRect();
    this.mode = "map";
    this.send("click", { u: (event.clientX - box.left) / box.width, v: (event.clientY - box.top) / box.height });
  }

  listMasks() {
    const list = this.find(".masks");
    list.replaceChildren(...this.data.masks.map((mask, number) => this.row(mask, number)));
  }

  row(mask, number) {
    const row = element("div", "mask");
    const label = element("label", "name");
    const box = element("input");
    box.type = "checkbox";
    box.checked = !this.off.has(number);
    box.onchange = () => {
      box.checked ? this.off.delete(number) : this.off.add(number);
      this.draw();
    };
    const swatch = element("span", "swatch");
    swatch.style.background = mask.colour;
    label.append(box, swatch, element("span", "", mask.name));
    Object.assign(label.style, { display: "inline-flex", alignItems: "center", gap: "0.45rem", cursor: "pointer" });
    box.style.accentColor = "var(--st-primary-color)";
    const score = element("span", "score", mask.score);
    score.append(element("small", "", "score"));
    const parts = element("div", "parts");
    parts.append(...mask.parts.map(bar));
    row.append(label, score, parts);
    return row;
  }

  destroy() {
    document.removeEventListener("keydown", this.keydown);
    document.removeEventListener("keyup", this.keyup);
    this.observer.disconnect();
  }
}

function bar(part) {
  const box = element("div", "part");
  box.title = part.help;
  const line = element("span");
  line.append(element("span", "", part.name), element("span", "", part.value.toFixed(2)));
  const track = element("i"),
    filled = element("b");
  filled.style.width = `${100 * part.value}%`;
  track.append(filled);
  box.append(line, track);
  return box;
}

export default mount((root) => new PhotoView(root));
