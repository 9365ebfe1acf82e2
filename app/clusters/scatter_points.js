// Points of a map: painting them into pixels, and finding the one under the pointer. Places are on the grid of SIDE.
const CELLS = 128; // of the index, along each side
const FADED = 0.16; // opacity of what is not selected
const HIDDEN = 24; // of 256: where a dot would show no more than so of itself it is not painted

// 0 or 1 for each point; null if there is no selection.
function unpackBits(base64, count) {
  if (!base64) return null;
  const packed = atob(base64),
    bits = new Uint8Array(count);
  for (let i = 0; i < count; i += 1) bits[i] = (packed.charCodeAt(i >> 3) >> (7 - (i & 7))) & 1;
  return bits;
}

function rgbOf(text) {
  if (text.startsWith("#")) return [1, 3, 5].map((start) => parseInt(text.slice(start, start + 2), 16));
  return (text.match(/[\d.]+/g) || [0, 0, 0]).slice(0, 3).map(Number);
}

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
  const order = new Uint32Array(count);
  for (let i = 0; i < count; i += 1) order[i] = i;
  let state = 12345;
  for (let i = count - 1; i > 0; i -= 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const j = state % (i + 1);
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

// x, y, x, y, ... in the order of drawing: read one after the other in each frame.
function placesInOrder(places, order) {
  const found = new Uint16Array(places.length);
  for (let step = 0; step < order.length; step += 1) {
    found[2 * step] = places[2 * order[step]];
    found[2 * step + 1] = places[2 * order[step] + 1];
  }
  return found;
}

const equalTo = (codes, code) => Uint8Array.from(codes, (each) => Number(each === code));

// Pixels of a dot: smaller where there are many, larger as the map is zoomed.
const dotRadius = (count, zoom) => Math.max(1.3, Math.min(5.5, 13 * count ** -0.19)) * Math.min(2.5, zoom ** 0.35);

class PointSet {
  constructor(bytes) {
    this.places = new Uint16Array(bytes.slice().buffer); // a copy, aligned for 16-bit numbers
    this.count = this.places.length >> 1;
    this.bounds = boundsOf(this.places);
    this.order = shuffled(this.count);
    this.arranged = new Map();
    this.inOrder = placesInOrder(this.places, this.order);
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

  // Values of the points in the order of drawing, put so once.
  drawn(name, values) {
    const before = this.arranged.get(name);
    if (before?.values === values) return before.inOrder;
    const inOrder = Uint8Array.from(this.order, (i) => values[i]);
    this.arranged.set(name, { values, inOrder });
    return inOrder;
  }

  // Paint all points. look: {codes, palette, selected, code, ground, zoom}; to: grid to pixels, as [scale, left, top].
  paint(canvas, look, to, ratio) {
    const context = canvas.getContext("2d"),
      { width, height } = canvas;
    if (!width || !height) return;
    if (this.image?.width !== width || this.image.height !== height) {
      this.image = context.createImageData(width, height);
      this.light = newLight(width, height);
    }
    const { codes, code, palette } = look,
      ground = rgbOf(look.ground),
      dark = ground[0] + ground[1] + ground[2] < 384;
    const radius = dotRadius(this.count, look.zoom) * ratio,
      rim = Math.min(1, radius / (3 * ratio)) * ratio;
    const style = {
      stencil: dotStencil(radius - rim / 2, rim),
      codes: this.drawn("codes", codes),
      fills: palette.flatMap(rgbOf),
      rims: palette.flatMap((color) => rimOf(rgbOf(color), ground, dark)),
    };
    const bright = code === null ? look.selected && this.drawn("marks", look.selected) : equalTo(style.codes, code);
    clearLight(this.light);
    paintDots(this.light, this.inOrder, to, style, 1, bright, 1);
    if (bright) paintDots(this.light, this.inOrder, to, style, FADED, bright, 0);
    showLight(this.light, ground, new Uint32Array(this.image.data.buffer));
    context.putImageData(this.image, 0, 0);
  }
}

// What is seen so far of dots that are painted from the top one down: sums of color times 256, and how much of what lies
// below is still seen, 256 for all of it. Where dots lie thick, those below are not painted: a million cost little more
// than those that show.
function newLight(width, height) {
  const [red, green, blue, left] = Array.from({ length: 4 }, () => new Uint16Array(width * height));
  return { width, height, red, green, blue, left, done: new Uint8Array(width * height) };
}

function clearLight({ red, green, blue, left }) {
  for (const sums of [red, green, blue]) sums.fill(0);
  left.fill(256);
}

function showLight({ red, green, blue, left }, ground, pixels) {
  const [groundRed, groundGreen, groundBlue] = ground;
  for (let spot = 0; spot < left.length; spot += 1) {
    const below = left[spot],
      highest = ((blue[spot] + groundBlue * below) & 0xff00) << 8,
      low = (green[spot] + groundGreen * below) & 0xff00;
    pixels[spot] = (0xff000000 | highest | low | ((red[spot] + groundRed * below) >> 8)) >>> 0;
  }
}

// Add the dots of points, or of those whose mark is ``wanted``; those that do not lie wholly in the picture are left out.
// Places, codes and marks are in the order of drawing; colors are red, green, blue, red, ...
function paintDots(light, places, [scale, leftmost, top], style, opacity, marks, wanted) {
  const { width, height, red, green, blue, left, done } = light,
    { codes, fills, rims } = style,
    { reach, cells } = style.stencil;
  const offsets = Int32Array.from(cells, ({ dx, dy }) => dy * width + dx);
  const inner = Uint16Array.from(cells, (cell) => Math.round(256 * cell.inner * opacity));
  const outer = Uint16Array.from(cells, (cell) => Math.round(256 * (cell.outer - cell.inner) * opacity));
  const hidden = HIDDEN * opacity;
  done.fill(0);
  for (let i = codes.length - 1; i >= 0; i -= 1) {
    if (marks !== null && marks[i] !== wanted) continue;
    const x = (places[2 * i] * scale + leftmost + 0.5) | 0,
      y = (places[2 * i + 1] * scale + top + 0.5) | 0;
    if (x < reach || y < reach || x >= width - reach || y >= height - reach) continue;
    const at = y * width + x;
    if (done[at]) continue;
    const color = 3 * codes[i],
      [fillRed, fillGreen, fillBlue] = [fills[color], fills[color + 1], fills[color + 2]],
      [rimRed, rimGreen, rimBlue] = [rims[color], rims[color + 1], rims[color + 2]];
    let most = 0;
    for (let cell = 0; cell < offsets.length; cell += 1) {
      const spot = at + offsets[cell],
        seen = left[spot];
      if (!seen) continue;
      const a = (inner[cell] * seen) >> 8,
        b = (outer[cell] * seen) >> 8;
      red[spot] += fillRed * a + rimRed * b;
      green[spot] += fillGreen * a + rimGreen * b;
      blue[spot] += fillBlue * a + rimBlue * b;
      left[spot] = seen - a - b;
      most = Math.max(most, ((inner[cell] + outer[cell]) * left[spot]) >> 8);
    }
    if (most <= hidden) done[at] = 1; // what the next dot at this very place would add
  }
}
