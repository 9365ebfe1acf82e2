// The large picture: photo and mask on one canvas, decoded before their turn comes.
const RIM = 1.75; // CSS pixels
const MOST_CARDS = 90;

class Picture {
  constructor(canvas, stage) {
    Object.assign(this, { canvas, stage, zoom: "crop", hidden: false, other: false, opacity: 0.38 });
    this.cards = new Map(); // "c120": crop of mask 120, "w120": its whole photo
    this.observer = new ResizeObserver(() => this.draw());
    this.observer.observe(stage);
  }

  key(mask, zoom = this.zoom) {
    return `${zoom[0]}${mask}`;
  }

  has(mask) {
    return this.cards.has(this.key(mask));
  }

  card(mask) {
    return this.cards.get(this.key(mask)) || this.cards.get(this.key(mask, this.zoom === "crop" ? "whole" : "crop"));
  }

  // Keeps a card; onReady() once it can be drawn at once.
  async keep(card, onReady) {
    this.cards.delete(card.key);
    this.cards.set(card.key, card);
    while (this.cards.size > MOST_CARDS) this.cards.delete(this.cards.keys().next().value);
    const [photo, mask, other] = await Promise.all(
      [card.photo_src, card.mask, card.other].map((src) => src && loadImage(src)),
    );
    card.images = { photo, mask: tinted(mask, card.color), other: tinted(other, card.color) };
    onReady(card);
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
    const size = [this.stage.clientWidth, this.stage.clientHeight].map((side) => Math.round(side * ratio));
    if (!size[0] || !size[1]) return;
    [this.canvas.width, this.canvas.height] = size;
    this.stage.dataset.mask = card?.images ? card.id : "";
    if (!card?.images) return;
    const place = fit([card.width, card.height], size);
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

// x, y, width, height of a picture, as large as the room has space for, in its middle; sizes are width, height.
function fit([width, height], [roomWidth, roomHeight]) {
  const scale = Math.min(roomWidth / width, roomHeight / height);
  return [(roomWidth - width * scale) / 2, (roomHeight - height * scale) / 2, width * scale, height * scale];
}

function tinted(image, color) {
  if (!image) return null;
  const layer = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
  const pen = layer.getContext("2d");
  pen.drawImage(image, 0, 0);
  pen.globalCompositeOperation = "source-in";
  pen.fillStyle = color;
  pen.fillRect(0, 0, layer.width, layer.height);
  return layer;
}
