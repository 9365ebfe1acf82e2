// The large picture of a step. Frames and the line between two pictures move here; other sliders ask the server, also
// while they are moved. A slider that the mouse has let go of loses the focus, so that arrow keys walk the steps again.
const EVERY = 110; // milliseconds between two questions to the server
const PLAY = 650; // milliseconds a frame
const SETTLED = 700; // milliseconds after the last movement from which the server's value counts again

class Scene {
  constructor(root) {
    this.find = (name) => root.querySelector(name);
    this.frame = this.find(".frame");
    this.slider = this.find("input");
    this.movedAt = -Infinity;
    this.timer = null; // of playing
    this.asking = null; // of a question to come
    this.lacking = new Lacking();
    this.onKey = (event) => this.moveRing(event);
    document.addEventListener("keydown", this.onKey);
    this.listen();
  }

  listen() {
    this.slider.oninput = () => {
      this.stop();
      this.moved();
    };
    this.slider.onchange = () => this.ask(0);
    this.slider.onpointerup = () => this.slider.blur();
    this.slider.onkeydown = (event) => {
      if (event.key === "Escape") this.slider.blur();
    };
    this.find(".play").onclick = () => (this.timer === null ? this.play() : this.stop());
    this.frame.onpointerdown = (event) => this.grab(event);
    this.frame.onpointermove = (event) => {
      if (this.held) this.wipeTo(event);
      this.outline(".hover", this.data.canPick ? this.patchAt(event) : null);
    };
    this.frame.onpointerup = this.frame.onpointercancel = () => {
      if (this.held) {
        this.held = false;
        this.ask(0);
      }
    };
    this.frame.onpointerleave = () => this.outline(".hover", null);
    this.frame.onclick = (event) => {
      if (this.data.canPick) this.send("pick", this.pointAt(event));
    };
  }

  update(data, send) {
    const other = !this.data || this.data.photo !== data.photo || this.data.slider?.label !== data.slider?.label;
    this.data = data;
    this.send = send;
    const named = [data.photo, ...[...data.layers, ...data.frames, ...(data.wipe ?? [])].map((layer) => layer.src)];
    takePictures(data.pictures, named);
    this.lacking.check(
      named,
      (names) => send("missing", names),
      () => this.draw(false),
    );
    this.draw(other);
  }

  draw(other) {
    const { data } = this;
    if (other) {
      this.stop();
      clearTimeout(this.asking);
      this.asking = null;
    }
    this.frame.parentElement.style.setProperty("--aspect", data.aspect);
    this.frame.classList.toggle("grey", data.grey);
    this.frame.classList.toggle("pick", data.canPick);
    this.frame.classList.toggle("wipes", Boolean(data.wipe));
    this.showPhoto();
    this.drawLayers();
    this.drawLines();
    this.outline(".ring", data.ring);
    this.drawTags();
    this.drawLegend();
    this.drawBar(other);
  }

  showPhoto() {
    const photo = this.find(".photo");
    put(photo, this.data.photo);
    photo.alt = this.data.alt;
  }

  // Pictures over the photo: as many as are wanted, those that stay keep their place so that nothing flickers.
  drawLayers() {
    const { layers, frames, wipe } = this.data;
    const box = this.find(".layers");
    const wanted = wipe ? wipe.map(whole) : frames.length ? [whole(frames[0])] : layers;
    while (box.children.length > wanted.length) box.lastChild.remove();
    while (box.children.length < wanted.length) box.append(document.createElement("img"));
    wanted.forEach((layer, number) => {
      const image = box.children[number];
      if (!frames.length) put(image, layer.src);
      const [fx, fy] = layer.on_patches ? [this.data.grid.fx, this.data.grid.fy] : [1, 1];
      Object.assign(image.style, {
        width: `${100 * fx}%`,
        height: `${100 * fy}%`,
        opacity: layer.opacity,
        clipPath: "",
      });
      image.style.imageRendering = layer.smooth ? "auto" : "pixelated";
      image.alt = "";
    });
  }

  drawLines() {
    const { rows, cols, fx, fy } = this.data.grid;
    const lines = this.find(".lines");
    lines.style.display = this.data.lines ? "block" : "none";
    Object.assign(lines.style, {
      width: `${100 * fx}%`,
      height: `${100 * fy}%`,
      backgroundSize: `${100 / cols}% ${100 / rows}%`,
    });
  }

  outline(name, patch) {
    const cell = this.find(name);
    cell.style.display = patch ? "block" : "none";
    if (!patch) return;
    const { rows, cols, fx, fy } = this.data.grid;
    const [width, height] = [(100 * fx) / cols, (100 * fy) / rows];
    const wider = name === ".ring" ? 0.4 : 0; // of a patch on each side, so that the back row sees it
    Object.assign(cell.style, {
      left: `${(patch[1] - wider) * width}%`,
      top: `${(patch[0] - wider) * height}%`,
      width: `${(1 + 2 * wider) * width}%`,
      height: `${(1 + 2 * wider) * height}%`,
    });
  }

  drawTags() {
    this.find(".tags").replaceChildren(
      ...this.data.tags.map((tag) => {
        const box = element("span", tag.out ? "tag out" : "tag", tag.text);
        Object.assign(box.style, {
          left: `clamp(2.2em, ${100 * tag.u}%, 100% - 2.2em)`,
          top: `${100 * tag.v}%`,
          borderColor: tag.colour,
        });
        return box;
      }),
    );
  }

  drawLegend() {
    const { scale, keys } = this.data;
    const parts = [];
    if (scale) {
      const ramp = element("i", "ramp");
      ramp.style.background = scale.gradient;
      parts.push(
        element("span", "", scale.title),
        element("span", "", scale.ends[0]),
        ramp,
        element("span", "", scale.ends[1]),
      );
    }
    for (const { colour, text } of keys) {
      const key = element("span", "key", text),
        dot = element("i", "dot");
      dot.style.background = colour;
      key.prepend(dot);
      parts.push(key);
    }
    this.find(".legend").style.display = parts.length ? "flex" : "none";
    this.find(".legend").replaceChildren(...parts);
  }

  drawBar(other) {
    const { slider, frames } = this.data;
    this.find(".bar").style.display = slider ? "flex" : "none";
    if (!slider) return;
    this.find("label").textContent = slider.label;
    this.find(".play").style.display = frames.length > 1 ? "" : "none";
    Object.assign(this.slider, {
      min: slider.low,
      max: slider.high,
      step: slider.step,
      disabled: slider.high <= slider.low,
    });
    this.slider.setAttribute("aria-label", slider.name || slider.label);
    const settled = performance.now() - this.movedAt > SETTLED && this.timer === null;
    if (other || settled) this.slider.value = slider.value;
    this.show();
  }

  // What the slider's place shows at once.
  show() {
    const { slider, frames, wipe } = this.data;
    const value = Number(this.slider.value);
    const text = frames.length
      ? (frames[value]?.text ?? "")
      : wipe
        ? ""
        : value.toFixed(slider.digits).replace("-", "−");
    this.find("output").textContent = text;
    this.slider.setAttribute("aria-valuetext", text || `${value}`);
    this.slider.style.setProperty(
      "--filled",
      `${(100 * (value - slider.low)) / Math.max(slider.high - slider.low, 1e-9)}%`,
    );
    const images = this.find(".layers").children;
    if (frames[value]) put(images[0], frames[value].src);
    if (wipe) {
      images[0].style.clipPath = `inset(0 ${100 - value}% 0 0)`;
      images[1].style.clipPath = `inset(0 0 0 ${value}%)`;
      this.find(".divider").style.left = `${value}%`;
    }
    for (const [number, name] of [".left", ".right"].entries())
      this.find(name).textContent = wipe ? wipe[number].text : "";
  }

  moved() {
    this.movedAt = performance.now();
    this.show();
    if (this.data.slider.live && !this.data.frames.length && !this.data.wipe) this.ask(EVERY);
  }

  // Tells the server the slider's value, at most every so often, and always the last one.
  ask(wait) {
    if (this.asking !== null && wait) return;
    clearTimeout(this.asking);
    this.asking = setTimeout(() => {
      this.asking = null;
      this.send("slide", Number(this.slider.value));
    }, wait);
  }

  play() {
    if (Number(this.slider.value) >= Number(this.slider.max)) this.slider.value = this.slider.min;
    this.show();
    this.find(".play").textContent = "Pause";
    this.timer = setInterval(() => {
      this.slider.value = Number(this.slider.value) + 1;
      this.show();
      if (Number(this.slider.value) >= Number(this.slider.max)) {
        this.stop();
        this.movedAt = performance.now();
        this.ask(0);
      }
    }, PLAY);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.find(".play").textContent = "Play";
  }

  pointAt(event) {
    const box = this.frame.getBoundingClientRect();
    return { u: (event.clientX - box.left) / box.width, v: (event.clientY - box.top) / box.height };
  }

  patchAt(event) {
    const { u, v } = this.pointAt(event);
    const { rows, cols, fx, fy } = this.data.grid;
    const inside = (value, count) => Math.min(Math.max(Math.floor(value), 0), count - 1);
    return [inside((v / fy) * rows, rows), inside((u / fx) * cols, cols)];
  }

  grab(event) {
    if (!this.data.wipe) return;
    this.held = true;
    this.frame.setPointerCapture(event.pointerId);
    this.wipeTo(event);
  }

  wipeTo(event) {
    this.slider.value = 100 * this.pointAt(event).u;
    this.moved();
  }

  // Shift and an arrow move the ring by a patch: what a click does, for the keyboard.
  moveRing(event) {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!step || !event.shiftKey || !this.data?.canPick || !this.data.ring || !this.frame.isConnected) return;
    event.preventDefault();
    const { rows, cols, fx, fy } = this.data.grid;
    const ring = this.data.ring.map((place, axis) =>
      Math.min(Math.max(place + step[axis], 0), (axis ? cols : rows) - 1),
    );
    this.data.ring = ring;
    this.outline(".ring", ring);
    this.send("pick", { u: Math.min(1, ((ring[1] + 0.5) * fx) / cols), v: Math.min(1, ((ring[0] + 0.5) * fy) / rows) });
  }

  destroy() {
    this.stop();
    clearTimeout(this.asking);
    clearTimeout(this.lacking.timer);
    document.removeEventListener("keydown", this.onKey);
  }
}

function put(image, name) {
  const src = PICTURES.get(name);
  if (src && image.src !== src) image.src = src;
}

function whole(frame) {
  return { src: frame.src, opacity: 1, on_patches: false, smooth: true };
}

export default mount((root) => new Scene(root));
