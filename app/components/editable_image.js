// A photo on which a mask is mended: what pointer and keys do, the preview below the pointer, and the steps on their way
// to the server. The list of steps is kept here, in the tab's storage too, and sent as a whole each time.
const ANSWER = 5000; // milliseconds until a message without an answer is sent again
const BRUSHES = [0.005, 0.013, 0.032]; // radius of the brush, in the photo's longer side
const EDITS = "maskdistill edits";
const MOST_KEPT = 8; // masks whose steps the tab's storage holds
const PREVIEW = { true: [40, 200, 110, 165], false: [240, 70, 60, 165] }; // what would be added, or taken away
const AT_POINTER = { k: "keep", d: "erase" };
const EDIT_KEYS = { a: "click", b: "brush", x: "eraser", s: "split", j: "join", n: "new", g: "next", f: "fill", o: "smooth", u: "undo", c: "zoom" };
const HINTS = {
  click: "Click beside the mask to add what is like it there, inside to take it away. Shift: everywhere.",
  brush: "Draw to add pixels. B again: another size.",
  eraser: "Draw to take pixels away. X again: another size.",
  split: "Click on each of the two objects.",
  join: "Click on the other mask.",
  new: "Click on an object.",
  keep: "Click on the part that stays.",
  erase: "Click on the part that goes.",
};

class EditableImage extends LayeredImage {
  constructor(root) {
    super(root);
    Object.assign(this, { host: root, steps: [], number: 0, waiting: false, keeping: null, tool: "click", brush: 1, everywhere: false });
    this.client = [Math.random(), Math.random()].map((part) => part.toString(36).slice(2, 10)).join("");
    this.over = element("canvas", "over");
    this.frame.insertBefore(this.over, this.find(".lines"));
    this.listenToPointer();
    this.listenToEditKeys();
    for (const button of root.querySelectorAll(".mend [data-do]")) button.onclick = () => this.act(button.dataset.do);
  }

  // What the picture alone does with the pointer, it does not do here.
  listenToFrame() {}

  listenToPointer() {
    const { frame } = this;
    frame.onpointerdown = (event) => {
      if (event.button !== 0 || !this.isBrush || this.keeping) return;
      event.preventDefault();
      frame.setPointerCapture(event.pointerId);
      this.stroke = [this.photoPoint(event)];
      this.drawStroke();
    };
    frame.onpointermove = (event) => {
      this.pointer = { point: this.photoPoint(event), everywhere: event.shiftKey };
      if (this.stroke) {
        const passed = event.getCoalescedEvents?.() ?? [];
        for (const each of passed.length ? passed : [event]) this.stroke.push(this.photoPoint(each));
        this.drawStroke();
      } else if (event.pointerType !== "touch") this.hover();
    };
    frame.onpointerup = () => this.endStroke();
    frame.onpointercancel = frame.onlostpointercapture = () => this.endStroke();
    frame.onpointerleave = () => {
      this.pointer = null;
      if (!this.stroke) this.clearOver();
    };
    frame.onclick = (event) => {
      if (!this.isBrush) this.clickAt(this.photoPoint(event), event.shiftKey || this.everywhere);
    };
  }

  listenToEditKeys() {
    const { signal } = this.end;
    document.addEventListener("keydown", (event) => this.press(event), { signal, capture: true });
  }

  press(event) {
    if (!this.edit || !this.frame.isConnected || isTyping(event)) return;
    const key = event.key.toLowerCase();
    if (key === "escape") this.forget(); // the dialog closes by itself
    else if (key === "enter" && !event.repeat) this.keep();
    else if (/^[1-9]$/.test(key)) this.take(Number(key) - 1);
    else if (AT_POINTER[key] && this.pointer) this.add({ do: AT_POINTER[key], ...placeOf(this.pointer.point, this.data.size) });
    else if (AT_POINTER[key]) this.act(AT_POINTER[key]);
    else if (EDIT_KEYS[key] && !event.repeat) this.act(EDIT_KEYS[key]);
    else return;
    if (key !== "escape") {
      event.preventDefault();
      event.stopPropagation();
    }
  }

  act(name) {
    if (name === "undo") this.undo();
    else if (name === "keepmask") this.keep();
    else if (name === "leave") this.leave();
    else if (name === "zoom") this.zoom();
    else if (name === "everywhere") this.everywhere = !this.everywhere;
    else if (name === "fill" || name === "smooth") this.add({ do: name });
    else if (name === "new" || name === "next") this.openOther(name);
    else if (HINTS[name]) this.choose(name);
    this.drawTools();
  }

  openOther(name) {
    if (this.steps.length) this.said = "Keep this mask first, or undo what you did.";
    else if (name === "new" && !this.edit.fresh) this.send("open", "new");
    else if (name === "next" && this.edit.after >= 0) this.send("open", String(this.edit.after));
  }

  choose(tool) {
    if (tool === this.tool && this.isBrush) this.brush = (this.brush + 1) % BRUSHES.length;
    else this.tool = tool;
    this.first = null;
    this.clearOver();
  }

  get isBrush() {
    return this.tool === "brush" || this.tool === "eraser";
  }

  get radius() {
    return Math.max(1, BRUSHES[this.brush] * Math.max(...this.data.size));
  }

  // Where the pointer is, in shares of the photo.
  photoPoint(event) {
    const box = this.frame.getBoundingClientRect();
    const { x, y, width, height } = this.place;
    return [(event.clientX - box.left - x) / width, (event.clientY - box.top - y) / height];
  }

  clickAt(point, everywhere) {
    if (point.some((share) => share < 0 || share > 1) || this.keeping) return;
    const place = placeOf(point, this.data.size);
    if (this.tool === "click" && this.edit.fresh && !this.steps.length) this.add({ do: "new", ...place });
    else if (this.tool === "click") this.add({ do: "click", ...place, adds: !this.isInside(point), everywhere });
    else if (this.tool === "split" && !this.first) {
      this.first = place;
      this.drawMark(point);
      return;
    } else if (this.tool === "split") this.add({ do: "split", first: this.first, second: place });
    else this.add({ do: this.tool, ...place });
    this.choose("click");
    this.drawTools();
  }

  endStroke() {
    const { stroke } = this;
    this.stroke = null;
    if (!stroke) return;
    const points = stroke.map((point) => Object.values(placeOf(point, this.data.size)));
    this.add({ do: "paint", points, radius: this.radius, erases: this.tool === "eraser" });
  }

  add(step) {
    if (this.keeping) return;
    this.steps.push(step);
    this.changed();
  }

  take(number) {
    if (number < this.edit.choices.length) this.add({ do: "take", number });
  }

  undo() {
    if (this.keeping) return;
    if (this.first) this.choose(this.tool);
    else if (this.steps.pop()) this.changed();
  }

  keep() {
    if (this.keeping || !this.steps.length) return;
    this.keeping = { client: this.client, seq: Date.now() };
    this.changed();
  }

  changed() {
    this.store();
    this.dirty = true;
    this.tell();
    this.drawTools();
  }

  leave() {
    this.forget();
    this.send("leave", true);
  }

  forget() {
    this.steps = [];
    this.store();
  }

  // One message is on its way at a time; what came meanwhile goes with the next.
  tell() {
    if (this.waiting || !this.dirty) return;
    this.dirty = false;
    this.waiting = true;
    this.number += 1;
    this.askedAt = performance.now();
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.again(), ANSWER);
    const { number, steps, keeping } = this;
    this.send("edit", { owner: this.keptBy ?? this.owner, number, steps: [...steps], keep: keeping });
  }

  again() {
    this.waiting = false;
    this.dirty = true;
    this.said = "The server does not answer. What you did is kept in this tab.";
    this.drawTools();
    this.tell();
  }

  update(data, send) {
    const { edit } = data;
    const restarted = this.server !== undefined && edit.server !== this.server;
    this.edit = edit;
    this.server = edit.server;
    if (edit.refused && edit.answered >= this.number) this.giveUp();
    if (edit.owner !== this.owner) this.open(edit);
    if (edit.answered >= this.number || restarted) {
      clearTimeout(this.timer);
      if (this.waiting && !restarted) this.root.dataset.milliseconds = Math.round(performance.now() - this.askedAt);
      this.waiting = false;
      this.said = "";
    }
    if (!this.waiting && !restarted && edit.problem && this.steps.length > edit.applied) this.drop(edit.applied);
    if (restarted || (!this.waiting && this.steps.length !== edit.applied)) this.dirty = this.steps.length + edit.applied > 0 || this.keeping !== null;
    super.update(data, send);
    this.readMask();
    this.readAlike();
    this.drawTools();
    this.tell();
  }

  // It could not be kept: somebody else changed the mask, or nothing would be left of it.
  giveUp() {
    this.keeping = this.keptBy = null;
    this.store();
  }

  // A step that could not be done is taken off the list again.
  drop(applied) {
    this.steps.length = applied;
    this.store();
  }

  // Another mask, or another shape of it: the steps of before, if this tab holds some.
  open(edit) {
    const kept = readEdits();
    const mine = kept[edit.owner];
    const sent = Object.entries(kept).find(([owner, item]) => owner !== edit.owner && item.subject === edit.subject && item.keep);
    this.owner = edit.owner;
    Object.assign(this, { first: null, stroke: null, number: edit.answered, tool: "click", whole: false });
    this.steps = mine?.steps ?? [];
    this.keeping = mine?.keep ?? sent?.[1].keep ?? null;
    this.keptBy = mine?.keep || !sent ? null : sent[0];
    this.restored = this.steps.length > 0;
    this.dirty = this.restored || this.keeping !== null;
  }

  store() {
    const kept = readEdits();
    delete kept[this.owner];
    for (const [owner, item] of Object.entries(kept)) if (item.subject === this.edit.subject) delete kept[owner];
    if (this.steps.length) kept[this.owner] = { subject: this.edit.subject, steps: this.steps, keep: this.keeping };
    const latest = Object.entries(kept).slice(-MOST_KEPT);
    try {
      sessionStorage.setItem(EDITS, JSON.stringify(Object.fromEntries(latest)));
    } catch {
      // without storage they last as long as the page
    }
  }

  // The mask's pixels, to know whether a point is inside, and the same on the grid of the patches.
  async readMask() {
    const { data, edit } = this;
    const name = data.views[0].layers[0]?.src ?? "";
    const image = name ? await this.load(name) : null;
    if ((name && !image) || edit !== this.edit) return; // a newer answer has come
    this.root.dataset.steps = edit.applied;
    if (name === this.maskName) return;
    this.maskName = name;
    const { rows, cols } = this.edit.field;
    this.inside = image ? alphaOf(image, image.naturalWidth, image.naturalHeight) : null;
    this.prior = signedMask(image ? alphaOf(image, cols, rows).alpha : new Uint8Array(rows * cols));
    this.clearOver();
    this.hover();
  }

  async readAlike() {
    const name = this.edit.field.alike;
    if (name === this.alikeName) return;
    const image = name ? await this.load(name) : null;
    if (!image) return;
    this.alikeName = name;
    this.alike = redOf(image);
  }

  isInside([u, v]) {
    if (!this.inside) return false;
    const { alpha, width, height } = this.inside;
    const [col, row] = [Math.min(Math.floor(u * width), width - 1), Math.min(Math.floor(v * height), height - 1)];
    return alpha[row * width + col] > 127;
  }

  hover() {
    if (this.hovering) return;
    this.hovering = requestAnimationFrame(() => {
      this.hovering = null;
      this.drawHover();
    });
  }

  drawHover() {
    if (!this.pointer || this.keeping || this.first) return;
    const { point } = this.pointer;
    if (this.isBrush) this.drawStroke([point]);
    else if (point.some((share) => share < 0 || share > 1) || !this.canPreview) this.clearOver();
    else this.drawPreview(point);
  }

  get canPreview() {
    return this.tool === "click" && !this.waiting && this.alike && this.prior;
  }

  drawPreview(point) {
    const began = performance.now();
    const { rows, cols } = this.edit.field;
    const adds = !this.isInside(point);
    const field = { ...this.edit.field, alike: this.alike, size: this.data.size };
    const everywhere = this.everywhere || this.pointer.everywhere;
    const cells = previewCells(this.prior, cellAt(point, field), adds, everywhere, field);
    const pixels = new ImageData(cols, rows);
    cells.forEach((value, place) => value && pixels.data.set(PREVIEW[adds], 4 * place));
    const small = new OffscreenCanvas(cols, rows);
    small.getContext("2d").putImageData(pixels, 0, 0);
    this.onOver((pen, place) => {
      pen.imageSmoothingEnabled = true;
      pen.drawImage(small, ...place);
    });
    this.root.dataset.preview = (performance.now() - began).toFixed(1);
  }

  drawStroke(stroke = this.stroke) {
    const erases = this.tool === "eraser";
    this.onOver((pen, [x, y, width, height]) => {
      const [r, g, b] = PREVIEW[!erases];
      const radius = (this.radius / this.data.size[0]) * width;
      pen.strokeStyle = pen.fillStyle = `rgba(${r}, ${g}, ${b}, 0.6)`;
      Object.assign(pen, { lineWidth: 2 * radius, lineCap: "round", lineJoin: "round" });
      pen.beginPath();
      for (const [u, v] of stroke) pen.lineTo(x + u * width, y + v * height);
      if (stroke.length > 1) pen.stroke();
      else {
        pen.arc(x + stroke[0][0] * width, y + stroke[0][1] * height, radius, 0, 2 * Math.PI);
        pen.fill();
      }
    });
  }

  drawMark([u, v]) {
    this.onOver((pen, [x, y, width, height], ratio) => {
      pen.fillStyle = "#fff";
      pen.strokeStyle = "#000";
      pen.lineWidth = ratio;
      pen.beginPath();
      pen.arc(x + u * width, y + v * height, 6 * ratio, 0, 2 * Math.PI);
      pen.fill();
      pen.stroke();
    });
  }

  onOver(draw) {
    if (!this.place) return;
    const ratio = window.devicePixelRatio || 1;
    const size = [this.frame.clientWidth, this.frame.clientHeight].map((side) => Math.round(side * ratio));
    [this.over.width, this.over.height] = size; // which empties it
    const { x, y, width, height } = this.place;
    draw(
      this.over.getContext("2d"),
      [x, y, width, height].map((side) => side * ratio),
      ratio,
    );
  }

  clearOver() {
    this.over.width = 0;
  }

  zoom() {
    this.whole = !this.whole;
    this.fit();
    this.hover();
  }

  get view() {
    const view = super.view;
    return this.whole ? { ...view, box: null } : view;
  }

  drawTools() {
    const { edit } = this;
    if (!edit) return;
    for (const button of this.host.querySelectorAll(".mend [data-do]")) {
      const name = button.dataset.do;
      const pressed = name === "everywhere" ? this.everywhere : name === this.tool;
      if (HINTS[name] || name === "everywhere") button.setAttribute("aria-pressed", String(pressed));
    }
    this.find('[data-do="undo"]').disabled = !this.steps.length || Boolean(this.keeping);
    this.find('[data-do="keepmask"]').disabled = !this.steps.length || Boolean(this.keeping);
    this.find('[data-do="zoom"]').hidden = !this.data?.views[0].box;
    this.find('[data-do="next"]').hidden = edit.after < 0;
    for (const name of ["split", "join"]) this.find(`[data-do="${name}"]`).disabled = edit.fresh;
    this.find(".brush-size").textContent = this.isBrush ? `Size: ${["small", "medium", "large"][this.brush]}` : "";
    const count = this.steps.length;
    const state = this.keeping ? "Saving …" : count ? `${count} step${count === 1 ? "" : "s"}, not kept yet.` : "";
    const restored = this.restored && count ? "What you had not kept is here again." : "";
    const problem = this.said || edit.problem;
    this.find(".said").textContent = [problem, state, problem ? "" : restored].filter(Boolean).join(" ");
    this.find(".said").classList.toggle("problem", Boolean(problem));
    const hint = this.tool === "click" && edit.fresh && !count ? HINTS.new : this.first ? "And on the other one." : HINTS[this.tool];
    this.find(".mend .hint").textContent = hint;
    this.frame.dataset.tool = this.tool;
    this.drawChoices();
  }

  drawChoices() {
    this.when("choices", this.edit.choices, () => {
      const buttons = this.edit.choices.map(({ src, name }, number) => {
        const image = Object.assign(element("img"), { src: PICTURES.get(src) ?? "", alt: "" });
        const button = element("button", "choice", image, element("span", "", element("kbd", "", String(number + 1)), ` ${name}`));
        Object.assign(button, { type: "button", onclick: () => this.take(number) });
        return button;
      });
      this.find(".choices").replaceChildren(...buttons);
      this.find(".choices-head").hidden = !buttons.length;
    });
  }

  destroy() {
    clearTimeout(this.timer);
    cancelAnimationFrame(this.hovering);
    super.destroy();
  }
}

// A point in shares of the photo as pixels of it, to a tenth.
function placeOf([u, v], [width, height]) {
  const inside = (share) => Math.min(Math.max(share, -0.5), 1.5);
  return { x: Math.round(inside(u) * width * 10) / 10, y: Math.round(inside(v) * height * 10) / 10 };
}

function pixelsOf(image, width, height) {
  const pen = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  pen.imageSmoothingQuality = "high";
  pen.drawImage(image, 0, 0, width, height);
  return pen.getImageData(0, 0, width, height).data;
}

function alphaOf(image, width, height) {
  const pixels = pixelsOf(image, width, height);
  return { alpha: Uint8Array.from({ length: width * height }, (_, place) => pixels[4 * place + 3]), width, height };
}

function redOf(image) {
  const pixels = pixelsOf(image, image.naturalWidth, image.naturalHeight);
  return Uint8Array.from({ length: pixels.length / 4 }, (_, place) => pixels[4 * place]);
}

function readEdits() {
  try {
    return JSON.parse(sessionStorage.getItem(EDITS)) ?? {};
  } catch {
    return {};
  }
}

export default mount((root) => new EditableImage(root));
