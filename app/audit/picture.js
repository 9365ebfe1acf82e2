// The large picture: photo and mask on one canvas, decoded before their turn comes.
const RIM = 1.75; // CSS pixels

class Picture {
  constructor(canvas, stage) {
    Object.assign(this, { canvas, stage, look: "crop", hidden: false, other: false, opacity: 0.38 });
    this.cards = new Map(); // "c120": crop of mask 120, "w120": its whole photo
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(stage);
  }

  key(mask, look = this.look) {
    return `${look[0]}${mask}`;
  }

  card(mask) {
    return this.cards.get(this.key(mask)) || this.cards.get(this.key(mask, this.look === "crop" ? "whole" : "crop"));
  }

  // Keeps a card; done() once it can be drawn at once.
  async keep(card, done) {
    this.cards.delete(card.key);
    this.cards.set(card.key, card);
    while (this.cards.size > 90) this.cards.delete(this.cards.keys().next().value);
    const [photo, mask, other] = await Promise.all([card.photo_src, card.mask, card.other].map(decoded));
    card.images = { photo, mask: tinted(mask, card.colour), other: tinted(other, card.colour) };
    done(card);
  }

  ready(mask) {
    return Boolean(this.cards.get(this.key(mask))?.images);
  }

  show(mask) {
    this.mask = mask;
    this.draw();
  }

  draw() {
    const card = this.mask === null ? null : this.cards.get(this.key(this.mask));
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight].map((side) => Math.round(side * ratio));
    if (!width || !height) return;
    this.canvas.width = width;
    this.canvas.height = height;
    this.stage.dataset.mask = card?.images ? card.id : "";
    if (!card?.images) return;
    const scale = Math.min(width / card.width, height / card.height);
    const place = [
      (width - card.width * scale) / 2,
      (height - card.height * scale) / 2,
      card.width * scale,
      card.height * scale,
    ];
    const pen = this.canvas.getContext("2d");
    pen.imageSmoothingQuality = "high";
    if (card.images.photo) pen.drawImage(card.images.photo, ...place);
    const layer = this.other && card.images.other ? card.images.other : card.images.mask;
    if (layer && !this.hidden) paintLayer(this.canvas, layer, place, this.opacity, RIM * ratio);
  }

  end() {
    this.observer.disconnect();
  }
}

async function decoded(src) {
  if (!src) return null;
  const image = new Image();
  image.src = src;
  await image.decode();
  return image;
}

function tinted(image, colour) {
  if (!image) return null;
  const layer = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const pen = layer.getContext("2d");
  pen.drawImage(image, 0, 0);
  pen.globalCompositeOperation = "source-in";
  pen.fillStyle = colour;
  pen.fillRect(0, 0, layer.width, layer.height);
  return layer;
}
