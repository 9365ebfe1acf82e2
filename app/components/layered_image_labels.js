// What is computed of patches, borders and label maps; nothing here touches the page.
const STEP = 2; // percent, of the arrow keys on a border
const MARGIN = 0.18; // around a box that is enlarged, in its longer sides
const MOST_ZOOM = 8; // from the whole photo's size on

// Where a side begins so that its point stands in the middle of the room, without a gap where it could be filled.
function shift(room, side, point) {
  if (side <= room) return (room - side) / 2;
  return Math.min(0, Math.max(room - side, room / 2 - point));
}

// The view that Z leads to: the next that shows something, round and round.
function nextView(current, views) {
  const places = views.map((_, place) => place).filter((place) => place === 0 || views[place].layers.length);
  return places[(places.indexOf(current) + 1) % places.length];
}

// The masks listed below: those of the view on show, or of the first where it has none of its own.
function listedMasks(view, views) {
  const named = ({ layers }) => layers.filter((layer) => layer.name);
  const own = named(view);
  return own.length ? own : named(views[0]);
}

// Where a photo lies in a frame, in its pixels: all of it, or enlarged to a box.
function placePhoto([width, height], [photoWidth, photoHeight], box) {
  const whole = Math.min(width / photoWidth, height / photoHeight);
  const [left, top, boxWidth, boxHeight] = box ?? [0, 0, photoWidth, photoHeight];
  const margin = 2 * MARGIN * Math.max(boxWidth, boxHeight);
  const close = Math.min(width / (boxWidth + margin), height / (boxHeight + margin));
  const scale = box ? Math.min(Math.max(close, whole), MOST_ZOOM * whole) : whole;
  return {
    x: shift(width, photoWidth * scale, (left + boxWidth / 2) * scale),
    y: shift(height, photoHeight * scale, (top + boxHeight / 2) * scale),
    width: photoWidth * scale,
    height: photoHeight * scale,
  };
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}

// Row and column of the patch at a point, u and v in [0, 1] of the photo.
function patchAt([u, v], { rows, cols, fx, fy }) {
  return [clamp(Math.floor((v / fy) * rows), 0, rows - 1), clamp(Math.floor((u / fx) * cols), 0, cols - 1)];
}

function patchCenter([row, col], { rows, cols, fx, fy }) {
  return [Math.min(1, ((col + 0.5) * fx) / cols), Math.min(1, ((row + 0.5) * fy) / rows)];
}

// Left, top, width and height of a patch in percent of the photo, wider by so many patches on each side.
function patchBox([row, col], { rows, cols, fx, fy }, wider = 0) {
  const [width, height] = [(100 * fx) / cols, (100 * fy) / rows];
  return [(col - wider) * width, (row - wider) * height, (1 + 2 * wider) * width, (1 + 2 * wider) * height];
}

// The neighbour of a patch that an arrow key leads to; null for another key.
function nextPatch(key, patch, { rows, cols }) {
  const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[key];
  return step ? [clamp(patch[0] + step[0], 0, rows - 1), clamp(patch[1] + step[1], 0, cols - 1)] : null;
}

// Where a key moves a border, in percent; null for another key.
function splitByKey(key, split) {
  const far = { Home: 0, End: 100 }[key];
  const near = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, PageDown: -10, PageUp: 10 }[key];
  return far ?? (near === undefined ? null : clamp(split + near, 0, 100));
}

function entryOf(table, label) {
  return table?.[label] ?? { name: `label ${label}`, colour: "#FFFFFF", key: `label ${label}` };
}

// Of every label: its colour as numbers, and a number for what it means, equal where two tables mean the same; keys
// holds these numbers, and is the same for the two.
function lookupTable(table, keys) {
  const lookup = { colors: new Uint8ClampedArray(256 * 4), meanings: new Int32Array(256), entries: [] };
  for (let label = 0; label < 256; label += 1) {
    const entry = entryOf(table, label);
    const unknown = label === 255;
    if (!keys.has(entry.key)) keys.set(entry.key, keys.size);
    lookup.entries.push(entry);
    lookup.meanings[label] = unknown ? -1 : keys.get(entry.key);
    if (label === 0 || !entry.colour) continue;
    const parts = [1, 3, 5].map((start) => parseInt(entry.colour.slice(start, start + 2), 16));
    lookup.colors.set([...parts, unknown ? 110 : 255], 4 * label);
  }
  return lookup;
}

// 1 where two label maps of a size mean different things, both known.
function differences(maps, lookups) {
  const [first, second] = maps.map((map) => map.labels);
  const differing = new Uint8Array(first.length);
  for (let place = 0; place < first.length; place += 1) {
    const [one, other] = [lookups[0].meanings[first[place]], lookups[1].meanings[second[place]]];
    differing[place] = one !== other && one >= 0 && other >= 0;
  }
  return differing;
}

// Pixels (RGBA) of a label map: where two agree they are dimmed; only: key of the one class that is shown.
function colorLabels(labels, lookup, differing = null, only = null) {
  const shown = lookup.entries.map((entry) => only === null || entry.key === only);
  const pixels = new Uint32Array(labels.length);
  const palette = new Uint32Array(lookup.colors.buffer);
  for (let place = 0; place < labels.length; place += 1) {
    const label = labels[place];
    if (differing && !differing[place]) pixels[place] = 0x73000000;
    else if (shown[label]) pixels[place] = palette[label];
    if (differing?.[place] && label === 0) pixels[place] = 0xb0ffffff; // background where the other has a class
  }
  return new Uint8ClampedArray(pixels.buffer);
}

function shrinkLabels({ labels, width, height }, side) {
  const scale = Math.min(1, side / Math.max(width, height));
  const [cols, rows] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  const small = new Uint8Array(cols * rows);
  for (let row = 0; row < rows; row += 1) {
    const from = Math.floor(((row + 0.5) * height) / rows) * width;
    for (let col = 0; col < cols; col += 1)
      small[row * cols + col] = labels[from + Math.floor(((col + 0.5) * width) / cols)];
  }
  return { labels: small, width: cols, height: rows };
}

function labelAt([u, v], { labels, width, height }) {
  const col = clamp(Math.floor(u * width), 0, width - 1);
  return labels[clamp(Math.floor(v * height), 0, height - 1) * width + col];
}

// What is in the maps of the two sides (null for none), with its shares of the photo, the largest first.
function classShares(maps, lookups, isTruth) {
  const found = new Map();
  for (const [place, map] of maps.entries()) {
    if (!map) continue;
    const counts = new Uint32Array(256);
    for (const label of map.labels) counts[label] += 1;
    counts.forEach((count, label) => {
      if (!count || label === 0) return;
      const entry = lookups[place].entries[label];
      const row = found.get(entry.key) || { ...entry, shares: [0, 0] };
      if (label !== 255 && !isTruth[place]) row.name = entry.name;
      row.shares[place] += count / map.labels.length;
      found.set(entry.key, row);
    });
  }
  return [...found.values()].sort((one, other) => Math.max(...other.shares) - Math.max(...one.shares));
}

function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return `${(100 * share).toFixed(share > 0 && share < 0.0995 ? 1 : 0)} %`;
}
