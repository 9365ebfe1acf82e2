// Crops in a grid, walked by arrow keys; marks show at once and reach the server after.
class CropGrid {
  constructor(root) {
    this.box = root.querySelector(".grid");
    this.root = root;
    this.nodes = new Map(); // mask id -> tile
    this.tiles = [];
    this.marked = new Set();
    this.turn = 0; // of the marks made here; an answer to earlier ones does not undo later ones
    this.active = 0; // place of the tile that Tab reaches
    this.lacking = new Lacking();
    this.box.onclick = (event) => this.onClick(event);
    this.box.onkeydown = (event) => this.onKey(event);
  }

  update(data, send, set) {
    const focused = this.tileOf(this.root.activeElement);
    this.data = data;
    Object.assign(this, { send, set });
    this.tiles = data.tiles;
    const names = this.tiles.map((tile) => tile.picture || "");
    takePictures(data.pictures, names);
    if (data.turn >= this.turn) {
      this.turn = data.turn;
      this.marked = new Set(data.marked);
    }
    this.box.style.setProperty("--size", `${data.size}px`);
    this.place();
    this.settle(focused);
    this.lacking.check(
      names,
      (lacking) => send("missing", lacking),
      () => this.update(data, send, set),
    );
  }

  // Tiles that stay keep their nodes, so that nothing flickers and the page does not jump.
  place() {
    const { box, data, tiles } = this;
    box.classList.toggle("can-mark", data.canMark);
    box.classList.toggle(
      "captions",
      tiles.some((tile) => tile.caption),
    );
    if (!tiles.length) {
      this.nodes.clear();
      box.removeAttribute("role");
      box.replaceChildren(element("p", "empty", data.empty));
      return;
    }
    box.setAttribute("role", "listbox");
    box.setAttribute("aria-label", data.label);
    box.setAttribute("aria-multiselectable", String(data.canMark));
    const nodes = new Map(tiles.map((tile) => [tile.id, this.nodes.get(tile.id) || makeTile(tile.id)]));
    this.nodes = nodes;
    const wanted = [...nodes.values()];
    if (wanted.length !== box.children.length || wanted.some((node, place) => node !== box.children[place])) {
      box.replaceChildren(...wanted);
      this.anchor = undefined; // of a range
    }
    for (const tile of tiles) fillTile(nodes.get(tile.id), tile);
    this.showMarks();
  }

  settle(focused) {
    const place = focused ? this.tiles.findIndex((tile) => tile.id === focused.maskId) : this.active;
    this.active = Math.min(Math.max(place < 0 ? this.active : place, 0), Math.max(this.tiles.length - 1, 0));
    this.rove(Boolean(focused));
  }

  rove(focus) {
    [...this.nodes.values()].forEach((node, place) => {
      node.tabIndex = place === this.active ? 0 : -1;
    });
    const node = this.nodes.get(this.tiles[this.active]?.id);
    if (focus && node && this.root.activeElement !== node) node.focus({ preventScroll: !this.walking });
  }

  tileOf(target) {
    const node = target?.closest?.(".tile");
    return node && this.box.contains(node) ? node : null;
  }

  onClick(event) {
    const node = this.tileOf(event.target);
    if (!node) return;
    const place = this.placeOf(node);
    const before = this.anchor === undefined ? place : this.anchor;
    this.active = place;
    this.rove(true);
    if (!this.data.canMark) this.open(node);
    else if (event.shiftKey) this.markRange(before, place);
    else if (event.ctrlKey || event.metaKey || event.target.closest(".check")) this.toggle(place);
    else this.open(node);
  }

  onKey(event) {
    const node = this.tileOf(event.target);
    if (!node || event.altKey) return;
    const place = this.placeOf(node),
      last = this.tiles.length - 1,
      columns = this.columns();
    const steps = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: columns,
      ArrowUp: -columns,
      Home: -place,
      End: last - place,
    };
    if (event.key in steps) this.walk(place, place + steps[event.key], event.shiftKey && this.data.canMark);
    else if (event.key === "Enter") this.open(node);
    else if (event.key === " ") this.data.canMark ? this.toggle(place) : this.open(node);
    else if (event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey) && this.data.canMark) this.toggleAll();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  walk(from, to, marking) {
    if (to < 0 || to >= this.tiles.length) return;
    this.active = to;
    this.walking = true;
    this.rove(true);
    this.walking = false;
    if (marking) this.markRange(from, to);
  }

  columns() {
    const nodes = [...this.nodes.values()];
    const next = nodes.findIndex((node) => node.offsetTop > nodes[0].offsetTop);
    return next < 0 ? nodes.length : next;
  }

  placeOf(node) {
    return this.tiles.findIndex((tile) => tile.id === node.maskId);
  }

  open(node) {
    this.anchor = this.placeOf(node);
    this.send("open", node.maskId);
  }

  toggle(place) {
    const { id } = this.tiles[place];
    this.marked.has(id) ? this.marked.delete(id) : this.marked.add(id);
    this.anchor = place;
    this.tell();
  }

  markRange(from, to) {
    for (let place = Math.min(from, to); place <= Math.max(from, to); place += 1) this.marked.add(this.tiles[place].id);
    this.anchor = to;
    this.tell();
  }

  toggleAll() {
    const all = this.tiles.every((tile) => this.marked.has(tile.id));
    this.marked = new Set(all ? [] : this.tiles.map((tile) => tile.id));
    this.tell();
  }

  tell() {
    this.turn += 1;
    this.showMarks();
    this.set("marks", { turn: this.turn, ids: this.tiles.map((tile) => tile.id).filter((id) => this.marked.has(id)) });
  }

  showMarks() {
    this.box.classList.toggle("any-marked", this.marked.size > 0);
    for (const [id, node] of this.nodes) node.setAttribute("aria-selected", String(this.marked.has(id)));
  }
}

function makeTile(id) {
  const tile = element("div", "tile");
  tile.maskId = id;
  tile.setAttribute("role", "option");
  const picture = element("span", "picture");
  const image = element("img");
  image.alt = "";
  image.draggable = false;
  const check = element("span", "check", "✓");
  check.title = "Mark";
  picture.append(image, check, element("span", "sign"), element("span", "badge"), element("span", "tone"));
  tile.append(picture, element("span", "caption"));
  return tile;
}

function fillTile(node, tile) {
  const words = tile.title || tile.caption || `mask ${tile.id}`;
  node.title = words;
  node.setAttribute("aria-label", [words, tile.badge, tile.sign].filter(Boolean).join(", "));
  const image = node.querySelector("img"),
    source = PICTURES.get(tile.picture) || "";
  if (source && image.getAttribute("src") !== source) image.src = source;
  if (!source) image.removeAttribute("src");
  node.querySelector(".picture").classList.toggle("none", !source);
  for (const name of ["badge", "sign", "caption"]) {
    const part = node.querySelector(`.${name}`);
    part.textContent = tile[name] || "";
    part.hidden = !tile[name];
  }
  Object.assign(node.querySelector(".sign").style, { background: tile.bar || "", color: tile.ink || "" });
  const tone = node.querySelector(".tone");
  tone.hidden = !tile.bar;
  tone.style.background = tile.bar || "";
}

export default mount((root) => new CropGrid(root));
