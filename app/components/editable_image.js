// A photo on which a mask is mended: what pointer and keys do, the preview below the pointer, and the steps on their way
// to the server. The list of steps is kept here, in the tab's storage too, and sent as a whole each time.
const ANSWER = 5000; // milliseconds until a message without an answer is sent again
const BRUSHES = [0.005, 0.013, 0.032]; // radius of the brush, in the photo's longer side
const AT_POINTER = { k: "keep", d: "erase" };
const EDIT_KEYS = {
  a: "click",
  b: "brush",
  x: "eraser",
  s: "split",
  j: "join",
  n: "new",
  g: "next",
  f: "fill",
  o: "smooth",
  r: "sharpen",
  u: "undo",
  c: "zoom",
};
class EditableImage extends LayeredImage {
  constructor(root) {
    super(root);
    Object.assign(this, {
      host: root,
      steps: [],
      number: 0,
      waiting: false,
      keeping: null,
      tool: "click",
      brush: 1,
      everywhere: false,
    });
    this.client = [Math.random(), Math.random()].map((part) => part.toString(36).slice(2, 10)).join("");
    this.over = new Over(this);
    this.log = new StepLog();
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
      if (!this.stroke) this.over.clear();
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
    if (key === "escape")
      this.forget(); // the dialog closes by itself
    else if (key === "enter" && !event.repeat) this.keep();
    else if (/^[1-9]$/.test(key)) this.take(Number(key) - 1);
    else if (AT_POINTER[key] && this.pointer)
      this.add({ do: AT_POINTER[key], ...placeOf(this.pointer.point, this.data.size) });
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
    else if (name === "sharpen" && canSharpen(this)) this.add({ do: name });
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
    this.over.clear();
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
      this.over.mark(point);
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
    if (restarted || (!this.waiting && this.steps.length !== edit.applied))
      this.dirty = this.steps.length + edit.applied > 0 || this.keeping !== null;
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
    const { mine, sent } = this.log.read(edit.subject, edit.owner);
    this.owner = edit.owner;
    Object.assign(this, { first: null, stroke: null, number: edit.answered, tool: "click", whole: false });
    this.steps = mine?.steps ?? [];
    this.keeping = mine?.keep ?? sent?.keep ?? null;
    this.keptBy = mine?.keep || !sent ? null : sent.owner;
    this.restored = this.steps.length > 0;
    this.dirty = this.restored || this.keeping !== null;
  }

  store() {
    this.log.write(this.edit.subject, this.owner, this.steps, this.keeping);
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
    this.over.clear();
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
    else if (point.some((share) => share < 0 || share > 1) || !this.canPreview) this.over.clear();
    else this.drawPreview(point);
  }

  get canPreview() {
    return this.tool === "click" && !this.waiting && this.alike && this.prior;
  }

  drawStroke(points = this.stroke) {
    this.over.stroke(points, this.radius / this.data.size[0], this.tool !== "eraser");
  }

  drawPreview(point) {
    const began = performance.now();
    const adds = !this.isInside(point);
    const field = { ...this.edit.field, alike: this.alike, size: this.data.size };
    const everywhere = this.everywhere || this.pointer.everywhere;
    this.over.preview(previewCells(this.prior, cellAt(point, field), adds, everywhere, field), field, adds);
    this.root.dataset.preview = (performance.now() - began).toFixed(1);
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
    if (this.edit) drawTools(this);
  }

  destroy() {
    clearTimeout(this.timer);
    cancelAnimationFrame(this.hovering);
    super.destroy();
  }
}

export default mount((root) => new EditableImage(root));
