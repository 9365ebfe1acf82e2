// Layers of masks on a canvas: tinted inside, and a rim just outside that shows at any opacity.
const RIM_OFFSETS = Array.from({ length: 16 }, (_, i) => [Math.cos((i * Math.PI) / 8), Math.sin((i * Math.PI) / 8)]);

// place: x, y, width, height on the canvas, in its own pixels; rim: thickness, 0 for none.
function paintLayer(canvas, layer, place, opacity, rim, smooth = false) {
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = smooth;
  context.globalAlpha = opacity;
  context.drawImage(layer, ...place);
  context.globalAlpha = 1;
  if (!rim) return;
  const [x, y, width, height] = place;
  const outline = new OffscreenCanvas(canvas.width, canvas.height);
  const pen = outline.getContext("2d");
  pen.imageSmoothingEnabled = smooth;
  for (const [dx, dy] of RIM_OFFSETS) pen.drawImage(layer, x + dx * rim, y + dy * rim, width, height);
  pen.globalCompositeOperation = "destination-out";
  pen.drawImage(layer, ...place);
  context.drawImage(outline, 0, 0);
}

async function loadImage(src) {
  const image = new Image();
  image.src = src;
  await image.decode();
  return image;
}

// Whether a key goes into a field of text, or belongs to the browser: then no shortcut may take it.
function isTyping(event) {
  const target = event.composedPath()[0];
  const field =
    target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
  const text = field && !/^(range|checkbox|radio)$/.test(target.type || "");
  return text || event.ctrlKey || event.metaKey || event.altKey;
}
