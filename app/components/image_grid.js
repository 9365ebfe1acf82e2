// Pictures to choose from, in groups, walked by arrow keys; marks show at once and reach the server after.
class ImageGrid {
  constructor(root) {
    this.root = root;
    this.box = root.querySelector(".images");
    this.sections = []; // one of each group
    this.items = []; // id, node and group of every tile that can be chosen, in order
    this.marked = new Set(); // ids
    this.turn = 0; // of the marks made here; an answer to earlier ones does not undo later ones
    this.active = 0; // place of the tile that had the focus last
    this.lacking = new Lacking();
    this.box.onclick = (event) => this.onClick(event);
    this.box.onkeydown = (event) => this.onKey(event);
  }

  update(data, send, set) {
    const focused = this.root.activeElement?.closest(".tile");
    Object.assign(this, { data, send, set });
    const names = data.groups.flatMap((group) => group.tiles.map((tile) => tile.src || ""));
    takePictures(data.pictures, names);
    if ((data.turn ?? 0) >= this.turn) {
      this.turn = data.turn ?? 0;
      this.marked = new Set(data.selected);
    }
    this.draw();
    this.showMarks();
    this.keepFocus(focused);
    if (data.layout === "strip") showSelected(this.sections[0].querySelector(".tiles"));
    this.lacking.check(
      names,
      (missing) => send("missing", missing),
      () => this.update(data, send, set),
    );
  }

  draw() {
    const { box, data } = this;
    box.className = classes("images", data.layout, data.canMark && "can-mark", data.canOpen && "can-open");
    box.style.setProperty("--size", `${data.size}px`);
    this.sections = data.groups.map((_, place) => this.sections[place] ?? makeGroup());
    this.items = data.groups.flatMap((group, place) => this.fillGroup(this.sections[place], group));
    if (data.columns?.length) this.drawTable();
    else setChildren(box, this.sections);
    box.role = { rows: "list", table: "table" }[data.layout] ?? null;
    for (const section of this.sections) section.role = data.layout === "rows" ? "listitem" : null;
  }

  drawTable() {
    const { columns, groups } = this.data;
    const shape = JSON.stringify([columns, groups.map((group) => group.column)]);
    if (shape === this.shape) return;
    this.shape = shape;
    const cell = (role, children) => Object.assign(element("div", "cell", ...children), { role });
    const line = (role, cells) =>
      Object.assign(element("div", "row", ...cells.map((children) => cell(role, children))), { role: "row" });
    const sections = (places) => (places.length ? places.map((place) => this.sections[place]) : ["–"]);
    const rows = tableRows(groups, columns.length).map((cells) => line("cell", cells.map(sections)));
    const heads = columns.map((title) => [title]);
    this.box.replaceChildren(line("columnheader", heads), ...rows);
  }

  // Tiles that stay keep their nodes, so that nothing flickers and the page does not jump.
  fillGroup(section, group) {
    const { data } = this;
    const box = section.querySelector(".tiles");
    section.nodes = new Map(group.tiles.map((tile) => [tile.id, section.nodes.get(tile.id) ?? makeTile()]));
    const nodes = [...section.nodes.values()];
    if (!nodes.length && data.empty) nodes.push(element("p", "empty", data.empty));
    if (setChildren(box, nodes)) this.anchor = undefined;
    for (const tile of group.tiles) fillTile(section.nodes.get(tile.id), tile);
    this.fillHeading(section, group);
    const chosen = group.tiles.filter((tile) => tile.id !== undefined);
    box.role = chosen.length ? "listbox" : null;
    box.ariaLabel = group.title || data.label;
    box.ariaMultiSelectable = chosen.length ? String(Boolean(data.canMark)) : null;
    return chosen.map(({ id }) => ({ id, node: section.nodes.get(id), group: section }));
  }

  fillHeading(section, group) {
    const { button } = this.data;
    section.className = classes("group", group.pale && "pale");
    section.style.setProperty("--color", group.color || "transparent");
    section.querySelector(".heading")?.remove();
    if (!group.title) return;
    const { title, color, detail, share, note, id } = group;
    const press = { title: `${button}: ${title}`, onclick: () => this.send("group", id) };
    const first = [
      color && element("i"),
      Object.assign(element("b", "", title), { title }),
      detail && element("span", "detail", detail),
    ];
    const second = [
      share && shareBar(...share),
      note && element("span", "note", note),
      button && Object.assign(element("button", "", button), press),
    ];
    section.prepend(element("div", "heading", element("span", "", ...first), element("span", "", ...second)));
  }

  keepFocus(focused) {
    const chosen = focused
      ? this.placeOf(focused)
      : this.data.arrowsOpen
        ? this.items.findIndex(({ id }) => this.marked.has(id))
        : -1;
    this.active = Math.max(0, Math.min(chosen < 0 ? this.active : chosen, this.items.length - 1));
    this.rove(Boolean(focused));
  }

  rove(focus, preventScroll = true) {
    const stops = tabStops(
      this.items.map(({ group }) => group),
      this.active,
    );
    this.items.forEach(({ node }, place) => {
      node.tabIndex = stops.has(place) ? 0 : -1;
    });
    const node = this.items[this.active]?.node;
    if (focus && node && this.root.activeElement !== node) node.focus({ preventScroll });
  }

  placeOf(target) {
    const node = target.closest(".tile");
    return this.items.findIndex((item) => item.node === node);
  }

  onClick(event) {
    const place = this.placeOf(event.target);
    if (place < 0) return;
    const from = this.anchor ?? place;
    this.active = place;
    this.rove(true);
    if (!this.data.canMark) this.open(place);
    else if (event.shiftKey) this.markRange(from, place);
    else if (event.ctrlKey || event.metaKey || event.target.closest(".check")) this.toggle(place);
    else this.open(place);
  }

  onKey(event) {
    const place = this.placeOf(event.target);
    if (place < 0 || event.altKey) return;
    const { canMark } = this.data;
    const next = nextPlace(event.key, place, () => this.items.map(({ node }) => node.getBoundingClientRect()));
    if (next !== undefined) this.walk(place, next, event.shiftKey && canMark);
    else if (event.key === "Enter" || (event.key === " " && !canMark)) this.open(place);
    else if (event.key === " ") this.toggle(place);
    else if (event.key.toLowerCase() === "a" && (event.ctrlKey || event.metaKey) && canMark) this.toggleAll();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  walk(from, to, marking) {
    if (!this.items[to]) return; // the ends take the key all the same: it is not meant for the page
    this.active = to;
    this.rove(true, false);
    if (marking) this.markRange(from, to);
    if (this.data.arrowsOpen) this.open(to);
  }

  open(place) {
    this.anchor = place;
    if (this.data.canOpen) this.send("open", this.items[place].id);
  }

  toggle(place) {
    const { id } = this.items[place];
    const marked = new Set(this.marked);
    this.anchor = place;
    if (!marked.delete(id)) marked.add(id);
    this.mark(marked);
  }

  markRange(from, to) {
    this.anchor = to;
    this.mark([...this.marked, ...between(this.items, from, to).map(({ id }) => id)]);
  }

  toggleAll() {
    this.mark(this.items.every(({ id }) => this.marked.has(id)) ? [] : this.items.map(({ id }) => id));
  }

  mark(ids) {
    this.marked = new Set(ids);
    this.turn += 1;
    this.showMarks();
    this.set("marks", { turn: this.turn, ids: this.items.map(({ id }) => id).filter((id) => this.marked.has(id)) });
  }

  showMarks() {
    for (const { id, node } of this.items) node.ariaSelected = String(this.marked.has(id));
  }
}

// Place that a key leads to, perhaps none: left and right in the order of the tiles, up and down to the nearest tile.
function nextPlace(key, place, boxes) {
  if (key === "ArrowRight") return place + 1;
  if (key === "ArrowLeft") return place - 1;
  if (key === "Home") return 0;
  if (key !== "End" && key !== "ArrowDown" && key !== "ArrowUp") return undefined;
  const all = boxes();
  if (key === "End") return all.length - 1;
  const way = key === "ArrowDown" ? 1 : -1;
  const middle = (box) => box.left + box.width / 2;
  const away = all.map((box) => {
    const rows = way * (box.top - all[place].top);
    return rows > 1 ? rows + 3 * Math.abs(middle(box) - middle(all[place])) : Number.POSITIVE_INFINITY;
  });
  const least = Math.min(...away);
  return Number.isFinite(least) ? away.indexOf(least) : undefined;
}

// Places that Tab reaches: one of each group, the active one or else the first.
function tabStops(groups, active) {
  const stops = new Map();
  groups.forEach((group, place) => {
    if (place === active || !stops.has(group)) stops.set(group, place);
  });
  return new Set(stops.values());
}

// Places of the groups in each cell of a table's rows; a group of the first column begins a row.
function tableRows(groups, numColumns) {
  const rows = [];
  groups.forEach(({ column }, place) => {
    if (column === 0) rows.push(Array.from({ length: numColumns }, () => []));
    rows.at(-1)[column].push(place);
  });
  return rows;
}

function between(items, one, other) {
  return items.slice(Math.min(one, other), Math.max(one, other) + 1);
}

// Where a strip is scrolled to so that a tile at left is seen: where it is if that will do.
function scrollToShow(left, width, { scrollLeft, clientWidth }) {
  const seen = left >= scrollLeft && left + width <= scrollLeft + clientWidth;
  return seen ? scrollLeft : left - clientWidth / 2;
}

function showSelected(strip) {
  strip.onscroll = () => strip.classList.toggle("more", strip.scrollLeft + strip.clientWidth < strip.scrollWidth - 4);
  requestAnimationFrame(strip.onscroll);
  const tile = strip.querySelector('[aria-selected="true"]');
  if (tile) strip.scrollLeft = scrollToShow(tile.offsetLeft - strip.offsetLeft, tile.offsetWidth, strip);
}

function makeGroup() {
  return Object.assign(element("section", "group", element("div", "tiles")), { nodes: new Map() }); // tiles by id
}

function shareBar(share, text) {
  const fill = element("b");
  fill.style.width = `${100 * share}%`;
  return element("span", "share", element("span", "bar", fill), text);
}

function makeTile() {
  const image = Object.assign(element("img"), { alt: "", draggable: false });
  const check = Object.assign(element("span", "check", "✓"), { title: "Mark" });
  const picture = element("span", "picture", image, check, element("span", "badge"));
  return element("div", "tile", picture, element("span", "caption"));
}

function fillTile(node, tile) {
  const image = node.querySelector("img"),
    source = PICTURES.get(tile.src);
  if (!source) image.removeAttribute("src");
  else if (image.getAttribute("src") !== source) image.src = source;
  node.className = classes("tile", !source && "none", tile.warn && "warn", tile.muted && "muted");
  node.style.setProperty("--color", tile.color || "transparent");
  node.role = tile.id === undefined ? "img" : "option";
  node.title = tile.title || tile.caption || `mask ${tile.id}`;
  node.ariaLabel = [node.title, tile.badge].filter(Boolean).join(", ");
  for (const name of ["badge", "caption"]) node.querySelector(`.${name}`).textContent = tile[name] || "";
}

function classes(...names) {
  return names.filter(Boolean).join(" ");
}

// Whether anything had to change: a node that is put in its place anew would lose the focus.
function setChildren(box, nodes) {
  if (nodes.length === box.children.length && nodes.every((node, place) => node === box.children[place])) return false;
  box.replaceChildren(...nodes);
  return true;
}

export default mount((root) => new ImageGrid(root));
