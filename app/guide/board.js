// Crops as buttons; those of a run open their details.
function crop(tile, open) {
  const box = document.createElement(tile.mask_id === null ? "div" : "button");
  box.className = tile.out ? "tile out" : "tile";
  box.title = tile.title;
  const picture = document.createElement("span");
  picture.className = "picture";
  if (PICTURES.has(tile.src)) {
    const image = document.createElement("img");
    Object.assign(image, { src: PICTURES.get(tile.src), alt: tile.title });
    picture.append(image);
  }
  const text = document.createElement("span"),
    bar = document.createElement("i");
  text.className = "text";
  text.textContent = tile.text;
  bar.style.background = tile.colour;
  text.prepend(bar);
  box.append(picture, text);
  if (tile.mask_id !== null) box.onclick = () => open(tile.mask_id);
  return box;
}

function draw(root, data, open) {
  root.classList.toggle("row", Boolean(data.split));
  const mine = root.querySelector(".mine");
  mine.style.display = data.mine ? "" : "none";
  mine.replaceChildren(...(data.mine ? [crop(data.mine, open)] : []));
  const boxes = data.tiles.map((tile) => crop(tile, open));
  if (data.split) {
    const line = document.createElement("span");
    line.className = "split";
    line.textContent = data.split;
    boxes.splice(data.splitAt, 0, line);
  }
  root.querySelector(".tiles").replaceChildren(...boxes);
}

export default mount((root) => ({
  lacking: new Lacking(),

  update(data, send) {
    const board = root.querySelector(".board");
    const names = [...(data.mine ? [data.mine] : []), ...data.tiles].map((tile) => tile.src);
    takePictures(data.pictures, names);
    const redraw = () => draw(board, data, (id) => send("open", id));
    this.lacking.check(names, (missing) => send("missing", missing), redraw);
    redraw();
  },
}));
