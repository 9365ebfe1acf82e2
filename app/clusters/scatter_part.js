// Bytes that the map shows, apart from it so that each is sent once: a stamp, padded, then the bytes themselves. A stamp
// that begins with "=" is a name, and what comes last replaces what was there.
const STAMP = 24; // bytes
const MAX_PARTS = 8;

export default mount(() => ({
  update(data) {
    const store = scatterStore();
    const bytes = new Uint8Array(data.buffer ?? data, data.byteOffset ?? 0, data.byteLength);
    const stamp = new TextDecoder().decode(bytes.subarray(0, STAMP)).trim();
    if (store.parts.has(stamp) && !stamp.startsWith("=")) return;
    store.parts.delete(stamp); // so that it comes last again
    store.parts.set(stamp, bytes.slice(STAMP));
    keepLatest(store.parts, MAX_PARTS);
    for (const onPart of store.listeners) onPart();
  },
}));
