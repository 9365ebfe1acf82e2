// What the map's hidden components bring: bytes by their stamp, and notes on single points.
function scatterStore() {
  globalThis.maskdistillScatter ??= { parts: new Map(), notes: new Map(), listeners: new Set(), ask: null };
  return globalThis.maskdistillScatter;
}

// Keep the entries of a map that came last.
function keepLatest(entries, most) {
  for (const old of [...entries.keys()].slice(0, -most)) entries.delete(old);
}
