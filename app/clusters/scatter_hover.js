// Notes on the points under the pointer: asked for here, shown by the map.
const MAX_NOTES = 800;

export default mount(() => ({
  update(data, send) {
    const store = scatterStore();
    store.ask = (stamp, points) => send("wanted", { stamp, points });
    if (store.version !== data.version) store.notes.clear();
    store.version = data.version;
    for (const item of data.items) store.notes.set(`${data.stamp}:${item.point}`, item);
    keepLatest(store.notes, MAX_NOTES);
    for (const onPart of store.listeners) onPart();
  },
}));
