// What the hidden parts of the page bring: bytes by their stamp, and what is known of single points.
function scatterStore() {
  globalThis.maskdistillScatter ??= { parts: new Map(), known: new Map(), listeners: new Set(), wish: null };
  return globalThis.maskdistillScatter;
}
