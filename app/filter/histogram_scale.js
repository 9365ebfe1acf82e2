// What the histograms compute: the scale of an axis, the values that a handle stops at, and the bars.
const MAX_CUT = 2.5; // a bar this many times as high as the next one is cut off, else all others would be flat
const CUT_ROOM = 1.35; // then the axis ends at so many times the height of the next one

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const rounded = (value) => Math.round(value * 1e6) / 1e6;

// A value in [0, 1] to its place along the axis in [0, 1], and back; power 2 gives small values room.
const toPlace = (value, power) => clamp(value, 0, 1) ** (1 / power);
const fromPlace = (place, power) => clamp(place, 0, 1) ** power;

// The values that a handle stops at, as the server has them. steps: up to which value by how much.
function stopsOf(steps) {
  const stops = [0];
  for (const [end, step] of steps) {
    const low = Math.round(stops[stops.length - 1] / step);
    for (let at = low + 1; at <= Math.round(end / step); at += 1) stops.push(rounded(at * step));
  }
  return stops;
}

// Number of the stop that is nearest to a value; of two as near, the higher one.
function nearestStop(stops, value) {
  let low = 0,
    high = stops.length - 1;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (stops[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low > 0 && value - stops[low - 1] < stops[low] - value ? low - 1 : low;
}

// The stop that a key leads to; null for a key that moves nothing.
function stopAfterKey(key, stops, value) {
  const last = stops.length - 1;
  const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 };
  Object.assign(steps, { Home: -last, End: last });
  return key in steps ? stops[clamp(nearestStop(stops, value) + steps[key], 0, last)] : null;
}

// What was typed as a value in [0, 1]; null if it is no number.
function typedValue(text, unit) {
  const value = Number(text) / unit;
  return text.trim() === "" || Number.isNaN(value) ? null : rounded(clamp(value, 0, 1));
}

// The count that a curve has at a stop; a curve of one number is flat.
const countAt = (curve, stop) => curve[curve.length === 1 ? 0 : stop];

// From which to which value the thresholds let masks pass.
function passingRange(thresholds) {
  const low = Math.max(0, ...thresholds.filter((item) => item.dropsBelow).map((item) => item.value));
  const high = Math.min(1, ...thresholds.filter((item) => !item.dropsBelow).map((item) => item.value));
  return [low, Math.max(low, high)];
}

// The count at the top of the axis, and the bin whose bar is cut off there; -1 for none.
function axisTop(sums) {
  const [most, next = 0] = [...sums].sort((one, other) => other - one);
  const isCut = next > 0 && most > MAX_CUT * next;
  const top = isCut ? CUT_ROOM * next : Math.max(1, most);
  return [top, sums.findIndex((count) => count > top)];
}

// One SVG path around bars. low: counts that they stand on; counts: of the bars; top: the count at the top of the axis.
function barsPath(low, counts, { width, height, top }) {
  const wide = width / counts.length,
    gap = wide > 4 ? 0.6 : 0;
  const y = (count) => (height * (1 - Math.min(count, top) / top)).toFixed(1);
  return counts
    .map((count, bin) => {
      if (count <= 0 || low[bin] >= top) return "";
      const [left, right] = [(bin * wide + gap).toFixed(1), ((bin + 1) * wide).toFixed(1)];
      return `M${left} ${y(low[bin])}V${y(low[bin] + count)}H${right}V${y(low[bin])}Z`;
    })
    .join("");
}
