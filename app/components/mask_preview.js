// What a click would change in a mask, before the server says it: on the grid of the patches, from the likeness of all
// pairs of them, which came once. Nothing here touches the page.

// The mask as the grid's cells see it, from -1 outside to 1 inside; alpha: of the mask drawn on the grid, 0 to 255.
function signedMask(alpha) {
  return Float32Array.from(alpha, (value) => (2 * value) / 255 - 1);
}

// How far a click at a cell reaches: like that cell, and near it.
function clickKernel(cell, { rows, cols, alike, reach, size }) {
  const count = rows * cols;
  const kernel = new Float32Array(count);
  const side = Math.min(...size);
  const [across, down] = [size[0] / side / cols, size[1] / side / rows];
  const [row, col] = [Math.floor(cell / cols), cell % cols];
  for (let other = 0; other < count; other += 1) {
    const dx = ((other % cols) - col) * across;
    const dy = (Math.floor(other / cols) - row) * down;
    kernel[other] = (alike[cell * count + other] / 255) * Math.exp(-(dx * dx + dy * dy) / (2 * reach * reach));
  }
  return kernel;
}

// Which cells a click changes: the connected part around it, or all that are like it.
function previewCells(prior, cell, adds, everywhere, field) {
  const { rows, cols, noise } = field;
  const kernel = clickKernel(cell, field);
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
