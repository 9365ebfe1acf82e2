// What a click would change in a mask, before the server says it: on the grid of the patches, from the likeness of all
// pairs of them, which came once. Nothing here touches the page.

// The mask as the grid's cells see it, from -1 outside to 1 inside; alpha: of the mask drawn on the grid, 0 to 255.
function signedMask(alpha) {
  return Float32Array.from(alpha, (value) => (2 * value) / 255 - 1);
}

// Sides of a cell, across and down, in the photo's shorter side; size: its width and height.
function cellSides({ rows, cols, size }) {
  const side = Math.min(...size);
  return [size[0] / side / cols, size[1] / side / rows];
}

// From a cell to the nearest on the other side of the mask's border: the wrong part is about as wide.
function wayToBorder(prior, cell, field) {
  const [across, down] = cellSides(field);
  const { cols } = field;
  let least = Infinity;
  for (let other = 0; other < prior.length; other += 1) {
    if (prior[other] > 0 === prior[cell] > 0) continue;
    const dx = ((other % cols) - (cell % cols)) * across;
    const dy = (Math.floor(other / cols) - Math.floor(cell / cols)) * down;
    least = Math.min(least, dx * dx + dy * dy);
  }
  return Number.isFinite(least) ? Math.max(Math.sqrt(least), field.least_way) : 10;
}

// How far a click at a cell reaches: like that cell, and near it, by so many of the ways to the border.
function clickKernel(cell, way, field) {
  const { rows, cols, alike, reach } = field;
  const count = rows * cols;
  const kernel = new Float32Array(count);
  const [across, down] = cellSides(field);
  const [row, col] = [Math.floor(cell / cols), cell % cols];
  const spread = 2 * (reach * way) ** 2;
  for (let other = 0; other < count; other += 1) {
    const dx = ((other % cols) - col) * across;
    const dy = (Math.floor(other / cols) - row) * down;
    kernel[other] = (alike[cell * count + other] / 255) * Math.exp(-(dx * dx + dy * dy) / spread);
  }
  return kernel;
}

// Which cells a click changes: the connected part around it, or all that are like it.
function previewCells(prior, cell, adds, everywhere, field) {
  const { rows, cols, noise } = field;
  const kernel = clickKernel(cell, everywhere ? Infinity : wayToBorder(prior, cell, field), field);
  const weight = ((adds ? 1 : -1) - prior[cell]) / (kernel[cell] + noise);
  const turned = prior.map((value, place) => {
    const after = value + weight * kernel[place];
    return (adds ? value <= 0 && after > 0 : value > 0 && after <= 0) ? 1 : 0;
  });
  turned[cell] = 1;
  return everywhere ? turned : connected(turned, cell, rows, cols);
}

// The part of the cells that are set around one of them, side by side.
function connected(cells, start, rows, cols) {
  const found = new Float32Array(cells.length);
  const open = [start];
  found[start] = 1;
  while (open.length) {
    const cell = open.pop();
    const [row, col] = [Math.floor(cell / cols), cell % cols];
    for (const [r, c] of [
      [row - 1, col],
      [row + 1, col],
      [row, col - 1],
      [row, col + 1],
    ]) {
      const next = r * cols + c;
      if (r < 0 || c < 0 || r >= rows || c >= cols || found[next] || !cells[next]) continue;
      found[next] = 1;
      open.push(next);
    }
  }
  return found;
}

// The cell at a point, u and v in [0, 1] of the photo.
function cellAt([u, v], { rows, cols }) {
  const place = (share, count) => Math.min(Math.max(Math.floor(share * count), 0), count - 1);
  return place(v, rows) * cols + place(u, cols);
}
