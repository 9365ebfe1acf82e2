// What is known of the points under the pointer: asked for here, shown by the map.
const MOST_KNOWN = 800; // points

export default mount(() => ({
  update(data, send) {
    const store = scatterStore();
    store.wish = (stamp, points) => send("wish", { stamp, points });
    if (store.version !== data.version) store.known.clear();
    store.version = data.version;
    for (const item of data.items) store.known.set(`${data.stamp}:${item.point}`, item);
    for (const old of [...store.known.keys()].slice(0, -MOST_KNOWN)) store.known.delete(old);
    store.listeners.forEach((tell) => tell());
  },
}));
