// A photo in a frame, the layers over it on a canvas, or on two beside a border, and what is drawn on top.
const EVERY = 110; // milliseconds between two questions to the server
const OUTLINE = 1.75; // CSS pixels
const OWN_KEYS = '[role="slider"], [role="dialog"]'; // what has arrow keys of its own
const KEPT = {}; // settings of the toolbar by the name that pictures give them, as long as the browser stays

class LayeredImage {
  constructor(root) {
    this.root = root.querySelector(".layered");
    this.find = (name) => root.querySelector(name);
    this.frame = this.find(".frame");
    this.canvases = [...this.frame.querySelectorAll("canvas")];
    this.images = new Map(); // name -> picture that is being loaded
    this.off = new Set(); // numbers of layers that are switched off
    this.drawn = {};
    this.lacking = new Lacking();
    this.sides = new Sides(this);
    this.slider = new SliderBar(this);
    this.end = new AbortController();
    this.listenToToolbar();
    this.listenToFrame();
    this.listenToKeys();
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(this.frame);
  }

  listenToToolbar() {
    const set = (name, value) => {
      this.settings[name] = value;
      this.root.style.setProperty("--opacity", this.settings.opacity / 100);
      if (name === "differing") this.sides.color();
      this.paint();
    };
    this.find(".opacity").oninput = (event) => set("opacity", Number(event.target.value));
    for (const name of ["outline", "differing"]) {
      this.find(`.${name}`).onchange = (event) => set(name, event.target.checked);
    }
    const hide = this.find(".hide");
    hide.onpointerdown = (event) => {
      hide.setPointerCapture(event.pointerId);
      this.hide(true);
    };
    hide.onpointerup = hide.onpointercancel = hide.onlostpointercapture = () => this.hide(false);
  }

  listenToFrame() {
    const { frame } = this;
    frame.onpointerdown = (event) => {
      if (!this.data.sides.length || event.button !== 0) return;
      event.preventDefault();
      this.dragging = true;
      frame.setPointerCapture(event.pointerId);
      this.find(".divider").focus({ preventScroll: true });
      this.moveSplit(100 * this.pointAt(event)[0]);
    };
    frame.onpointermove = (event) => {
      const point = this.pointAt(event);
      if (this.dragging) this.moveSplit(100 * point[0]);
      if (this.data.hint) this.outlinePatch(".hover", patchAt(point, this.data.grid));
      if (this.data.sides.length && this.sides.lookups) this.sides.point(point);
    };
    frame.onpointerup =
      frame.onpointercancel =
      frame.onlostpointercapture =
        () => {
          if (!this.dragging) return;
          this.dragging = false;
          if (this.data.split === null) return;
          this.find(".divider").blur(); // arrow keys are the page's again
          this.ask(0, this.settings.split);
        };
    frame.onpointerleave = () => {
      this.outlinePatch(".hover", null);
      this.sides.point(null);
    };
    frame.onclick = (event) => {
      if (this.data.hint) this.pick(this.pointAt(event));
    };
    this.find(".divider").onkeydown = (event) => {
      const split = splitByKey(event.key, this.settings.split);
      if (split === null || event.shiftKey) return;
      event.preventDefault();
      event.stopPropagation();
      this.moveSplit(split);
      if (this.data.split !== null) this.ask(EVERY, split);
    };
  }

  listenToKeys() {
    const { signal } = this.end;
    const keydown = (event) => {
      if (!this.data || !this.frame.isConnected || isTyping(event)) return;
      const key = event.key.toLowerCase();
      if (key === "h") this.hide(true);
      else if (key === "z" && !event.repeat && this.hasSwitch())
        this.show(nextView(this.settings.view, this.data.views));
      else if (event.shiftKey) this.moveRing(event);
    };
    document.addEventListener("keydown", keydown, { signal });
    const keyup = (event) => {
      if (event.key.toLowerCase() === "h") this.hide(false);
    };
    document.addEventListener("keyup", keyup, { signal });
    window.addEventListener("blur", () => this.hide(false), { signal });
  }

  update(data, send) {
    const before = this.data;
    Object.assign(this, { data, send });
    const start = { view: 0, opacity: data.opacity ?? 100, outline: true, differing: false, split: 50 };
    this.settings = data.keep_settings ? (KEPT[data.keep_settings] ??= start) : (this.own ??= start);
    const other = before?.src !== data.src || before.slider?.label !== data.slider?.label;
    if (other && !data.keep_settings) {
      this.settings.view = 0;
      this.off.clear();
    }
    if (other) clearTimeout(this.asking);
    if (other) this.asking = null;
    if (data.picked && String(data.picked) !== String(before?.picked)) this.settings.view = data.views.length - 1;
    if (data.split !== null && (other || performance.now() - (this.splitAt ?? -Infinity) > SETTLED))
      this.settings.split = data.split;
    const named = [data, ...data.views.flatMap((view) => view.layers), ...data.sides]
      .map(({ src }) => src)
      .filter(Boolean);
    takePictures(data.pictures, named);
    this.lacking.check(
      named,
      (names) => send("missing", names),
      () => this.update(this.data, this.send),
    );
    this.slider.update(data, other);
    if (data.sides.length)
      this.sides.update(data, before); // draws once its label maps are read, so that photo and maps change together
    else this.draw();
  }

  get view() {
    const { views, slider } = this.data;
    const place = slider && views.length > 1 ? this.slider.value : this.settings.view;
    return views[place]?.layers.length ? views[place] : views[0];
  }

  hasSwitch() {
    return !this.data.slider && this.data.views.length > 1 && this.data.views.at(-1).layers.length > 0;
  }

  // Runs make only if what it draws is other than before.
  when(name, value, make) {
    const text = JSON.stringify(value);
    if (this.drawn[name] === text) return;
    this.drawn[name] = text;
    make();
  }

  draw() {
    const { data } = this;
    this.root.style.setProperty("--aspect", data.size[0] / data.size[1]);
    this.root.style.setProperty("--height", data.height);
    for (const [name, on] of Object.entries({
      gray: data.gray,
      fills: data.fills,
      picks: data.hint,
      wipes: data.sides.length,
    })) {
      this.frame.classList.toggle(name, Boolean(on));
    }
    this.root.classList.toggle("wide", data.sides.length > 2);
    this.frame.title = data.hint;
    const photo = this.find(".photo");
    const src = PICTURES.get(data.src);
    if (src && photo.getAttribute("src") !== src) photo.src = src;
    photo.alt = data.alt;
    this.when("tags", data.tags, () => this.find(".tags").replaceChildren(...data.tags.map(tagAt)));
    this.drawLines();
    this.drawToolbar();
    this.drawMasks();
    this.moveSplit(this.settings.split, false);
    this.fit();
  }

  drawLines() {
    const lines = this.find(".lines");
    lines.hidden = !this.data.lines;
    if (lines.hidden) return;
    const { rows, cols, fx, fy } = this.data.grid;
    const size = { width: `${100 * fx}%`, height: `${100 * fy}%`, backgroundSize: `${100 / cols}% ${100 / rows}%` };
    Object.assign(lines.style, size);
  }

  drawToolbar() {
    const { data, settings } = this;
    this.find(".toolbar").hidden = data.opacity === null;
    if (data.opacity === null) return;
    const hasChoice = !data.slider && data.views.length > 1;
    this.find(".views").hidden = this.find(".switch").hidden = !hasChoice;
    this.when("views", [data.views.map((view) => view.name)], () => {
      const buttons = data.views.map((view, place) => {
        const button = element("button", "", view.name);
        button.onclick = () => this.show(place);
        return button;
      });
      this.find(".views").replaceChildren(...buttons);
      this.find(".switch").title =
        `Switches between ${data.views.map((view) => view.name.toLowerCase()).join(" and ")}`;
    });
    for (const part of this.root.querySelectorAll(".of-sides")) part.hidden = !data.sides.length;
    this.find(".of-masks").hidden = !data.views.some((view) => view.layers.some((layer) => layer.outline));
    this.find(".opacity").value = settings.opacity;
    this.find(".outline").checked = settings.outline;
    this.find(".differing").checked = settings.differing;
    this.root.style.setProperty("--opacity", settings.opacity / 100);
  }

  drawMasks() {
    const listed = listedMasks(this.view, this.data.views);
    this.when("masks", [listed, [...this.off]], () => {
      const rows = listed.map((layer, place) =>
        maskRow(layer, !this.off.has(place), (on) => {
          this.off[on ? "delete" : "add"](place);
          this.paint();
        }),
      );
      this.find(".masks").replaceChildren(...rows);
    });
  }

  // The photo's place in the frame, and what depends on the view.
  fit() {
    if (!this.data || !this.frame.clientWidth) return;
    const { view } = this;
    this.place = placePhoto([this.frame.clientWidth, this.frame.clientHeight], this.data.size, view.box);
    const { x, y, width, height } = this.place;
    const photo = { left: `${x}px`, top: `${y}px`, width: `${width}px`, height: `${height}px` };
    Object.assign(this.find(".photo").style, photo);
    this.outlinePatch(".ring", view.ring);
    this.when("scale", [view.scale, this.data.keys], () => {
      const items = scaleItems(view.scale, this.data.keys);
      this.find(".scale").hidden = !items.length;
      this.find(".scale").replaceChildren(...items);
    });
    for (const [place, button] of [...this.find(".views").children].entries()) {
      button.setAttribute("aria-pressed", String(this.data.views[place] === view));
      button.disabled = place > 0 && !this.data.views[place].layers.length;
    }
    this.paint();
  }

  load(name) {
    if (!PICTURES.has(name)) return null;
    if (!this.images.has(name)) {
      if (this.images.size > 40) this.images.clear();
      this.images.set(name, loadImage(PICTURES.get(name)));
    }
    return this.images.get(name);
  }

  // What lies on each canvas, the lowest layer first.
  get stacks() {
    const { opacity, outline } = this.settings;
    if (this.data.sides.length) {
      if (!this.sides.lookups) return [[], []];
      const share = this.data.opacity === null ? 1 : opacity / 100;
      return this.sides.shown.map((side, place) => [
        { src: side.table ? "" : side.src, share, map: this.sides.colored?.[place], smooth: true },
      ]);
    }
    const bar = this.data.opacity === null ? 1 : opacity / 100;
    const shown = this.view.layers.map((layer, place) => ({
      ...layer,
      share: layer.least + (layer.opacity - layer.least) * bar,
      outline: layer.outline && outline,
      off: layer.name !== "" && this.off.has(place),
    }));
    return [shown.filter((layer) => !layer.off).reverse(), []];
  }

  // Does nothing if the canvases show this already.
  async paint() {
    if (!this.place) return;
    const { stacks } = this;
    const turn = (this.turn = (this.turn || 0) + 1);
    const loaded = stacks.map((stack) => Promise.all(stack.map((layer) => layer.map || this.load(layer.src))));
    const sources = await Promise.all(loaded);
    if (turn !== this.turn) return; // a newer one has begun
    const ratio = window.devicePixelRatio || 1;
    const room = [this.frame.clientWidth, this.frame.clientHeight].map((side) => Math.round(side * ratio));
    const there = sources.map((stack) => stack.map(Boolean));
    this.when("canvases", [stacks, there, this.sides.version, room, this.place], () => {
      for (const [number, canvas] of this.canvases.entries()) {
        [canvas.width, canvas.height] = room; // which empties it
        stacks[number].forEach((layer, place) => {
          if (sources[number][place]) this.paintOn(canvas, layer, sources[number][place], ratio);
        });
      }
    });
  }

  paintOn(canvas, layer, source, ratio) {
    const { x, y, width, height } = this.place;
    const [fx, fy] = layer.on_patches ? [this.data.grid.fx, this.data.grid.fy] : [1, 1];
    const place = [x, y, width * fx, height * fy].map((side) => side * ratio);
    paintLayer(canvas, source, place, layer.share, layer.outline ? OUTLINE * ratio : 0, layer.smooth);
  }

  hide(hidden) {
    this.root.classList.toggle("bare", hidden);
  }

  show(place) {
    this.settings.view = place;
    this.drawMasks();
    this.fit();
  }

  moveSplit(percent, byHand = true) {
    if (byHand) this.splitAt = performance.now();
    const split = (this.settings.split = clamp(percent, 0, 100));
    if (!this.data.sides.length) {
      this.canvases[0].style.clipPath = "";
      return;
    }
    this.find(".divider").style.left = `${split}%`;
    this.find(".divider").setAttribute("aria-valuenow", Math.round(split));
    this.canvases[0].style.clipPath = `inset(0 ${100 - split}% 0 0)`;
    this.canvases[1].style.clipPath = `inset(0 0 0 ${split}%)`;
    this.find(".side-name.left").style.opacity = split < 8 ? 0 : 1;
    this.find(".side-name.right").style.opacity = split > 92 ? 0 : 1;
  }

  // Tells the server a value, at most every so often, and always the last one.
  ask(wait, value) {
    this.asked = value;
    if (this.asking && wait) return;
    clearTimeout(this.asking);
    this.asking = setTimeout(() => {
      this.asking = null;
      this.send("slide", [this.asked]);
    }, wait);
  }

  pointAt(event) {
    const box = this.frame.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  outlinePatch(name, patch) {
    const cell = this.find(name);
    cell.style.display = patch ? "block" : "none";
    if (!patch) return;
    const box = patchBox(patch, this.data.grid, name === ".ring" ? 0.4 : 0); // a wide ring is seen from the back row
    const [left, top, width, height] = box.map((side) => `${side}%`);
    Object.assign(cell.style, { left, top, width, height });
  }

  pick(point) {
    if (this.hasSwitch()) this.show(this.data.views.length - 1);
    this.send("pick", point);
  }

  // Shift and an arrow move the ring by a patch: what a click does, for the keyboard.
  moveRing(event) {
    const { view } = this;
    if (!this.data.hint || !view.ring || event.composedPath().some((node) => node.matches?.(OWN_KEYS))) return;
    const next = nextPatch(event.key, view.ring, this.data.grid);
    if (!next) return;
    event.preventDefault();
    view.ring = next;
    this.outlinePatch(".ring", next);
    this.send("pick", patchCenter(next, this.data.grid));
  }

  destroy() {
    this.slider.stop();
    clearTimeout(this.asking);
    clearTimeout(this.lacking.timer);
    this.end.abort();
    this.observer.disconnect();
  }
}
