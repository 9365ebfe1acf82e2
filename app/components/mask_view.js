// One mask on its photo. How it is looked at stays the same from mask to mask, wherever it is shown.
const LOOK = { crop: false, opacity: 45, outline: true };
const MARGIN = 0.18; // of a crop, in sides of the mask's box
const MOST_ZOOM = 8; // of a crop, from the whole photo's size on
const LEAST_HEIGHT = 0.5; // of the stage, in its widths: a panorama's crop needs room

class MaskView {
  constructor(root) {
    this.find = (name) => root.querySelector(name);
    this.hidden = false;
    this.crop = LOOK.crop;
    this.images = new Map(); // name -> loaded picture
    this.lacking = new Lacking();
    this.stage = this.find(".stage");
    this.canvas = this.find("canvas");
    this.find(".opacity").oninput = (event) => {
      LOOK.opacity = Number(event.target.value);
      this.draw();
    };
    this.find(".outline").onchange = (event) => {
      LOOK.outline = event.target.checked;
      this.draw();
    };
    this.find(".to-whole").onclick = () => this.show(false);
    this.find(".to-crop").onclick = () => this.show(true);
    const hide = this.find(".hide");
    hide.onpointerdown = (event) => {
      hide.setPointerCapture(event.pointerId);
      this.hold(true);
    };
    hide.onpointerup = hide.onpointercancel = hide.onlostpointercapture = () => this.hold(false);
    this.keydown = (event) => this.onKey(event, true);
    this.keyup = (event) => this.onKey(event, false);
    this.blur = () => this.hold(false);
    document.addEventListener("keydown", this.keydown);
    document.addEventListener("keyup", this.keyup);
    window.addEventListener("blur", this.blur);
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(this.find(".view"));
  }

  onKey(event, down) {
    const key = event.key.toLowerCase();
    if (!this.place) return;
    if (key === "h" && !down) this.hold(false);
    else if (isTyping(event)) return;
    else if (key === "h") this.hold(true);
    else if (key === "z" && down && !event.repeat) this.show(!this.crop);
  }

  hold(hidden) {
    if (hidden === this.hidden) return;
    this.hidden = hidden;
    this.find(".hide").classList.toggle("held", hidden);
    this.draw();
  }

  show(crop) {
    this.crop = LOOK.crop = crop;
    this.fit();
  }

  update(data, send) {
    this.data = data;
    const names = [data.photo, ...data.layers];
    takePictures(data.pictures, names);
    this.stage.setAttribute("aria-label", data.label);
    this.find(".opacity").value = LOOK.opacity;
    this.find(".outline").checked = LOOK.outline;
    const photo = this.find(".photo"),
      source = PICTURES.get(data.photo);
    if (source && photo.getAttribute("src") !== source) photo.src = source;
    photo.style.visibility = source ? "" : "hidden";
    this.fit();
    this.lacking.check(
      names,
      (lacking) => send("missing", lacking),
      () => this.update(data, send),
    );
  }

  // The stage keeps its size between photo and crop, so that nothing below jumps.
  fit() {
    if (!this.data) return;
    const [photoWidth, photoHeight] = this.data.size;
    const width = this.find(".view").clientWidth;
    const height = Math.min(this.data.maxHeight, Math.max((width * photoHeight) / photoWidth, LEAST_HEIGHT * width));
    if (!width) return;
    this.stage.style.height = `${height}px`;
    this.place = this.placePhoto(width, height);
    const photo = this.find(".photo");
    Object.assign(photo.style, { width: `${photoWidth}px`, height: `${photoHeight}px` });
    photo.style.transform = `translate(${this.place.x}px, ${this.place.y}px) scale(${this.place.scale})`;
    this.find(".to-whole").setAttribute("aria-pressed", String(!this.crop));
    this.find(".to-crop").setAttribute("aria-pressed", String(this.crop));
    this.draw();
  }

  placePhoto(width, height) {
    const [photoWidth, photoHeight] = this.data.size;
    const whole = Math.min(width / photoWidth, height / photoHeight);
    const [left, top, boxWidth, boxHeight] = this.data.box;
    const margin = 2 * MARGIN * Math.max(boxWidth, boxHeight);
    const close = Math.min(width / (boxWidth + margin), height / (boxHeight + margin));
    const scale = this.crop ? Math.min(Math.max(close, whole), MOST_ZOOM * whole) : whole;
    return {
      scale,
      x: shift(width, photoWidth * scale, (left + boxWidth / 2) * scale),
      y: shift(height, photoHeight * scale, (top + boxHeight / 2) * scale),
    };
  }

  async load(name) {
    const source = PICTURES.get(name);
    if (!source) return null;
    if (!this.images.has(name)) {
      if (this.images.size > 40) this.images.clear();
      const image = new Image();
      image.src = source;
      this.images.set(
        name,
        image.decode().then(() => image),
      );
    }
    return this.images.get(name);
  }

  async draw() {
    if (!this.place) return;
    const turn = (this.turn = (this.turn || 0) + 1);
    const layers = await Promise.all(this.data.layers.map((name) => this.load(name)));
    if (turn !== this.turn) return; // a newer drawing has begun
    const ratio = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(this.stage.clientWidth * ratio);
    this.canvas.height = Math.round(this.stage.clientHeight * ratio);
    if (this.hidden || !this.canvas.width) return;
    const { x, y, scale } = this.place;
    const place = [x, y, this.data.size[0] * scale, this.data.size[1] * scale].map((side) => side * ratio);
    const [mask, ...others] = layers;
    for (const layer of others) if (layer) paintLayer(this.canvas, layer, place, 0, ratio);
    if (mask) paintLayer(this.canvas, mask, place, LOOK.opacity / 100, LOOK.outline ? 1.75 * ratio : 0);
  }

  destroy() {
    document.removeEventListener("keydown", this.keydown);
    document.removeEventListener("keyup", this.keyup);
    window.removeEventListener("blur", this.blur);
    this.observer.disconnect();
  }
}

// Where a side begins so that its point stands in the middle of the room, without a gap where it could be filled.
function shift(room, side, point) {
  if (side <= room) return (room - side) / 2;
  return Math.min(0, Math.max(room - side, room / 2 - point));
}

export default mount((root) => new MaskView(root));
