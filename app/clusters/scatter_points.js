// Points of a map: painting them into pixels, and finding the one under the pointer. Places are on the grid of SIDE.
const CELLS = 128; // of the index, along each side
const FADED = 0.16; // opacity of what is not selected

// 0 or 1 for each point; null if there is no selection.
function unpackBits(base64, count) {
  if (!base64) return null;
  const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  return Uint8Array.from({ length: count }, (_, i) => (packed[i >> 3] >> (7 - (i & 7))) & 1);
}

function rgbOf(text) {
  if (text.startsWith("#")) return [1, 3, 5].map((start) => parseInt(text.slice(start, start + 2), 16));
  return (text.match(/[\d.]+/g) || [0, 0, 0]).slice(0, 3).map(Number);
}

const pack = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const mix = (one, other, share) => one.map((part, i) => Math.round(part + (other[i] - part) * share));

// A rim that parts a dot from its neighbours; a dark one on a dark ground gets a light rim, else nobody would see it.
function rimOf(color, ground, dark) {
  if (!dark) return mix(color, [20, 28, 36], 0.5);
  const dim = 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2] < 75;
  return dim ? mix(color, [255, 255, 255], 0.4) : mix(color, ground, 0.75);
}

// A dot as pixels around its middle: how much of each is dot, and how much is rim.
function dotStencil(radius, rim) {
  const reach = Math.ceil(radius + rim + 0.5);
  const cover = (distance, size) => Math.max(0, Math.min(1, size + 0.5 - distance));
  const cells = [];
  for (let dy = -reach; dy <= reach; dy += 1) {
    for (let dx = -reach; dx <= reach; dx += 1) {
      const distance = Math.hypot(dx, dy);
      const inner = cover(distance, radius),
        outer = cover(distance, radius + rim);
      if (outer > 0.02) cells.push({ dx, dy, inner, outer });
    }
  }
  return { reach, cells };
}

// [x0, y0, x1, y1] around places that are given as x, y, x, y, ...
function boundsOf(places) {
  const bounds = [SIDE, SIDE, 0, 0];
  for (let i = 0; i < places.length; i += 1) {
    const axis = i & 1;
    bounds[axis] = Math.min(bounds[axis], places[i]);
    bounds[axis + 2] = Math.max(bounds[axis + 2], places[i]);
  }
  return bounds;
}

// Photos often come in series: drawn in their order, the last ones would cover the others. The same order each time.
function shuffled(count) {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  let state = 12345;
  for (let i = count - 1; i > 0; i -= 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = state % (i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

// Pixels of a dot: smaller where there are many, larger as the map is zoomed.
const dotRadius = (count, zoom) => Math.max(1.3, Math.min(5.5, 13 * count ** -0.19)) * Math.min(2.5, zoom ** 0.35);

class PointSet {
  constructor(bytes) {
    this.places = new Uint16Array(bytes.slice().buffer); // a copy, aligned for 16-bit numbers
    this.count = this.places.length >> 1;
    this.bounds = boundsOf(this.places);
    this.order = shuffled(this.count);
    this.index();
  }

  index() {
    const cellOf = (i) => ((this.places[2 * i + 1] * CELLS) >> 16) * CELLS + ((this.places[2 * i] * CELLS) >> 16);
    this.starts = new Uint32Array(CELLS * CELLS + 1);
    for (let i = 0; i < this.count; i += 1) this.starts[cellOf(i) + 1] += 1;
    for (let cell = 0; cell < CELLS * CELLS; cell += 1) this.starts[cell + 1] += this.starts[cell];
    const next = this.starts.slice();
    this.items = new Uint32Array(this.count);
    for (let i = 0; i < this.count; i += 1) this.items[next[cellOf(i)]++] = i;
  }

  // Points nearest to a place on the grid, at most so far away, nearest first.
  near(x, y, reach, most) {
    const cell = (value) => Math.max(0, Math.min(CELLS - 1, Math.floor((value * CELLS) / (SIDE + 1))));
    const found = [];
    for (let row = cell(y - reach); row <= cell(y + reach); row += 1) {
      const first = this.starts[row * CELLS + cell(x - reach)],
        end = this.starts[row * CELLS + cell(x + reach) + 1];
      for (const i of this.items.subarray(first, end)) {
        const distance = Math.hypot(this.places[2 * i] - x, this.places[2 * i + 1] - y);
        if (distance <= reach) found.push([distance, i]);
      }
    }
    return found
      .sort((one, other) => one[0] - other[0])
      .slice(0, most)
      .map(([, i]) => i);
  }

  // Paint all points. look: {codes, palette, selected, code, ground, zoom}; to: grid to pixels, as [scale, left, top].
  paint(canvas, look, to, ratio) {
    const context = canvas.getContext("2d"),
      { width, height } = canvas;
    if (!width || !height) return;
    if (this.image?.width !== width || this.image.height !== height)
      this.image = context.createImageData(width, height);
    const pixels = new Uint32Array(this.image.data.buffer);
    const { codes, selected, code, palette } = look,
      ground = rgbOf(look.ground),
      dark = ground[0] + ground[1] + ground[2] < 384;
    const radius = dotRadius(this.count, look.zoom) * ratio,
      rim = Math.min(1, radius / (3 * ratio)) * ratio;
    const style = {
      stencil: dotStencil(radius - rim / 2, rim),
      codes,
      fills: palette.map((color) => pack(rgbOf(color))),
      rims: palette.map((color) => pack(rimOf(rgbOf(color), ground, dark))),
    };
    const isBright = code === null ? selected && ((i) => selected[i] === 1) : (i) => codes[i] === code;
    pixels.fill(pack(ground));
    if (isBright) paintDots({ pixels, width, height }, this, to, style, FADED, (i) => !isBright(i));
    paintDots({ pixels, width, height }, this, to, style, 1, isBright);
    context.putImageData(this.image, 0, 0);
  }
}

// Blend the dots of points into pixels; those that do not lie wholly in the picture are left out.
function paintDots({ pixels, width, height }, { places, order }, [scale, left, top], style, opacity, isWanted) {
  const { codes, fills, rims } = style,
    { reach, cells } = style.stencil;
  const offsets = Int32Array.from(cells, ({ dx, dy }) => dy * width + dx);
  const inner = Uint16Array.from(cells, (cell) => Math.round(256 * cell.inner * opacity));
  const outer = Uint16Array.from(cells, (cell) => Math.round(256 * (cell.outer - cell.inner) * opacity));
  for (let step = 0; step < order.length; step += 1) {
    const i = order[step];
    if (isWanted && !isWanted(i)) continue;
    const x = Math.round(places[2 * i] * scale + left),
      y = Math.round(places[2 * i + 1] * scale + top);
    if (x < reach || y < reach || x >= width - reach || y >= height - reach) continue;
    const at = y * width + x,
      fill = fills[codes[i]],
      edge = rims[codes[i]];
    for (let cell = 0; cell < offsets.length; cell += 1) {
      const spot = at + offsets[cell],
        below = pixels[spot],
        a = inner[cell],
        b = outer[cell],
        rest = 256 - a - b;
      const redBlue = ((below & 0xff00ff) * rest + (fill & 0xff00ff) * a + (edge & 0xff00ff) * b) / 256;
      const green = ((below & 0x00ff00) * rest + (fill & 0x00ff00) * a + (edge & 0x00ff00) * b) / 256;
      pixels[spot] = (0xff000000 | (redBlue & 0xff00ff) | (green & 0x00ff00)) >>> 0;
    }
  }
}
