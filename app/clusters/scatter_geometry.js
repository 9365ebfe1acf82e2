// Where things lie on the map: the grid of the points, the view onto it in CSS pixels, and what a drag draws.
const SIDE = 65535; // the grid goes from 0 to SIDE in both directions
const PADS = [16, 44, 16, 30]; // pixels left, above, right and below of the points: tools and hints lie there
const MAX_SCALE = 0.05; // pixels for one step of the grid at zoom 1, so that a few close points are not torn apart
const ZOOMS = [1, 60];
const MIN_STEP = 3; // pixels between two corners of a lasso

const wholeView = () => ({ zoom: ZOOMS[0], x: SIDE / 2, y: SIDE / 2 }); // x, y: the place in the middle of the picture

// Grid to pixels, as [scale, left, top]. bounds: of the points, [x0, y0, x1, y1]; size: of the picture.
function gridToPixels(bounds, [width, height], view) {
  const [left, above, right, below] = PADS;
  const room = [Math.max(1, width - left - right), Math.max(1, height - above - below)];
  const fits = [0, 1].map((axis) => room[axis] / Math.max(1, bounds[axis + 2] - bounds[axis]));
  const scale = Math.min(...fits, MAX_SCALE) * view.zoom;
  return [scale, left + room[0] / 2 - view.x * scale, above + room[1] / 2 - view.y * scale];
}

// The view after a zoom: the place ``around`` stays where it is; at the smallest zoom all is shown.
function zoomed(view, factor, [x, y] = [view.x, view.y]) {
  const zoom = Math.max(ZOOMS[0], Math.min(ZOOMS[1], view.zoom * factor));
  if (zoom === ZOOMS[0]) return wholeView();
  const share = view.zoom / zoom;
  return { zoom, x: x + (view.x - x) * share, y: y + (view.y - y) * share };
}

// How much a turn of the wheel zooms; its steps are lines in some browsers, pixels in others.
const wheelFactor = ({ deltaY, deltaMode }) => Math.exp(-deltaY * (deltaMode ? 0.05 : 0.0016));

// A lasso with one more place, unless that is as good as where it already is.
function extendLasso(corners, place, scale) {
  const last = corners[corners.length - 1];
  const isFar = Math.hypot(place[0] - last[0], place[1] - last[1]) * scale >= MIN_STEP;
  return isFar ? [...corners, place] : corners;
}

function boxCorners([x0, y0], [x1, y1]) {
  return [
    [x0, y0],
    [x1, y0],
    [x1, y1],
    [x0, y1],
  ];
}

// Where a note of that size goes beside the pointer, so that it stays in the picture.
function notePlace([x, y], [width, height], [stageWidth, stageHeight]) {
  const left = x + 18 + width > stageWidth ? x - 14 - width : x + 18;
  return [left, Math.max(4, Math.min(y - 20, stageHeight - height - 4))];
}
