// Two sides of a border, chosen from several: label maps come as grey pictures whose pixels are the labels; they are
// coloured, compared and counted here, so that only another photo needs the server.
const TILE = 220; // pixels, longer side of a small picture

class Sides {
  constructor(image) {
    this.image = image;
    this.find = image.find;
    this.maps = new Map(); // name of a picture -> {labels, width, height}
    this.only = null; // key of the class that is pointed at in the legend
    this.find(".first").onchange = (event) => this.choose(event.target.value, this.pair[1]);
    this.find(".second").onchange = (event) => this.choose(this.pair[0], event.target.value);
    this.find(".swap").onclick = () => this.choose(this.pair[1], this.pair[0]);
  }

  async update(data, before) {
    this.data = data;
    const same = before?.src === data.src && String(before.pair) === String(data.pair);
    if (!same || !this.pair) this.pair = data.pair;
    const turn = (this.turn = (this.turn || 0) + 1);
    await Promise.all(data.sides.filter((side) => side.table).map((side) => this.read(side.src)));
    if (turn !== this.turn) return; // a newer photo has come
    const kinds = data.sides.map((side) => side.kind);
    this.pair = this.pair.map((kind) => (kinds.includes(kind) ? kind : kinds[0]));
    this.keys = new Map([["background", 0]]);
    const names = [...new Set(data.sides.map((side) => side.table))];
    this.lookups = new Map(names.map((name) => [name, lookupTable(data.tables[name], this.keys)]));
    this.draw();
    this.image.draw();
  }

  async read(name) {
    if (!name || this.maps.has(name) || !PICTURES.has(name)) return;
    const image = await loadImage(PICTURES.get(name));
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
    const labels = Uint8Array.from({ length: width * height }, (_, place) => data[4 * place]);
    if (this.maps.size > 60) this.maps.clear();
    this.maps.set(name, { labels, width, height });
  }

  get shown() {
    return this.pair.map((kind) => this.data.sides.find((side) => side.kind === kind) || this.data.sides[0]);
  }

  map(side) {
    return (side.table && this.maps.get(side.src)) || null;
  }

  choose(...pair) {
    this.pair = pair;
    this.draw();
    this.image.send("pair", pair);
  }

  draw() {
    const { sides, tables, src, size } = this.data;
    const read = sides.map((side) => Boolean(this.map(side)));
    this.image.when(
      "sides",
      [sides, tables, this.pair, read, PICTURES.has(src), size, this.image.settings.differing],
      () => {
        this.drawChoices();
        if (sides.length > 2) this.drawTiles();
        this.color();
      },
    );
    this.image.paint();
  }

  // The pictures of the two sides, coloured anew.
  color() {
    const sides = this.shown;
    const maps = sides.map((side) => this.map(side));
    const lookups = sides.map((side) => this.lookups.get(side.table));
    const both = maps[0] && maps[1] && maps[0].labels.length === maps[1].labels.length;
    const differing = this.image.settings.differing && both ? differences(maps, lookups) : null;
    this.colored = sides.map(
      (_, place) => maps[place] && coloredMap(maps[place], lookups[place], differing, this.only),
    );
    this.version = (this.version || 0) + 1;
    this.find(".differing").disabled = !both;
    if (this.only === null && this.data.sides.length > 2) this.drawLegend(sides, maps, lookups, both);
  }

  drawChoices() {
    for (const [place, side] of this.shown.entries()) {
      const select = this.find([".first", ".second"][place]);
      select.replaceChildren(...this.data.sides.map(({ name, kind }) => new Option(name, kind)));
      select.value = side.kind;
      const name = side.note ? `${side.name} · ${side.note}` : side.name;
      this.find([".side-name.left", ".side-name.right"][place]).textContent = name;
    }
  }

  drawTiles() {
    const box = this.find(".tiles");
    const focused = box.getRootNode().activeElement?.dataset.place;
    box.replaceChildren(...this.data.sides.map((side) => this.tile(side)));
    if (focused) box.querySelector(`[data-place="${focused}"]`)?.focus();
  }

  tile(side) {
    const picture = element("button", "picture");
    picture.title = `${side.name}: show on the right of the slider`;
    picture.dataset.place = `${side.kind}:picture`;
    picture.style.aspectRatio = String(this.data.size[0] / this.data.size[1]);
    picture.onclick = () => this.choose(this.pair[0] === side.kind ? this.pair[1] : this.pair[0], side.kind);
    const photo = element("img");
    Object.assign(photo, { src: PICTURES.get(this.data.src) || "", alt: "" });
    picture.append(photo);
    const map = this.map(side);
    if (map) {
      const small = coloredMap(shrinkLabels(map, TILE), this.lookups.get(side.table));
      const canvas = element("canvas");
      Object.assign(canvas, { width: small.width, height: small.height });
      canvas.getContext("2d").drawImage(small, 0, 0);
      picture.append(canvas);
    }
    const name = element("span", "name", side.name);
    name.title = side.name;
    const buttons = element("span", "sides", this.pick(side, 0, "L", "left"), this.pick(side, 1, "R", "right"));
    const tile = element(
      "figure",
      "",
      picture,
      element("figcaption", "", name, element("span", "note", side.note), buttons),
    );
    tile.classList.toggle("on", this.pair.includes(side.kind));
    return tile;
  }

  pick(side, place, letter, where) {
    const button = element("button", "", letter);
    button.title = `${side.name} on the ${where}`;
    button.setAttribute("aria-label", button.title);
    button.setAttribute("aria-pressed", String(this.pair[place] === side.kind));
    button.dataset.place = `${side.kind}:${letter}`;
    button.onclick = () => this.choose(...(place ? [this.pair[0], side.kind] : [side.kind, this.pair[1]]));
    return button;
  }

  // What is in the two maps, with its share of the photo on the left and on the right.
  drawLegend(sides, maps, lookups, both) {
    const rows = classShares(
      maps,
      lookups,
      sides.map((side) => side.table === "truth"),
    );
    const chips = rows.map((row) => this.chip(row, Boolean(maps[0] && maps[1])));
    if (!chips.length) chips.push(element("span", "none", "No class in these two pictures: background only."));
    if (!both && maps[0] && maps[1]) chips.push(element("span", "none", "The two maps differ in size."));
    this.find(".legend").replaceChildren(...chips);
  }

  chip(row, pair) {
    const [left, right] = row.shares.map(percent);
    const most = percent(Math.max(...row.shares));
    const swatch = element("i");
    swatch.style.background = row.colour;
    const share = element("small", "", pair ? `${left} | ${right}` : most);
    const chip = element("span", "chip", swatch, element("b", "", row.name), share);
    chip.tabIndex = 0;
    chip.title = `${row.name}: ${pair ? `${left} of the photo on the left, ${right} on the right` : `${most} of the photo`}`;
    const show = (key) => {
      if (this.only === key) return;
      this.only = key;
      this.color();
      this.image.paint();
    };
    chip.onpointerenter = chip.onfocus = () => show(row.key);
    chip.onpointerleave = chip.onblur = () => show(null);
    return chip;
  }

  // The classes at a point, beside the pointer; null: it has left.
  point(at) {
    const tip = this.find(".tip");
    const lines = (at ? this.shown : [])
      .filter((side) => this.map(side))
      .map((side) => {
        const entry = entryOf(this.data.tables[side.table], labelAt(at, this.map(side)));
        const swatch = element("i");
        swatch.style.background = entry.colour || "transparent";
        return element("div", "", swatch, element("small", "", `${side.name}: `), element("b", "", entry.name));
      });
    tip.replaceChildren(...lines);
    tip.style.display = lines.length ? "block" : "none";
    if (!lines.length) return;
    tip.classList.toggle("flip-x", at[0] > 0.5);
    tip.classList.toggle("flip-y", at[1] > 0.7);
    Object.assign(tip.style, { left: `${100 * at[0]}%`, top: `${100 * at[1]}%` });
  }
}

function coloredMap({ labels, width, height }, lookup, differing = null, only = null) {
  const canvas = new OffscreenCanvas(width, height);
  canvas
    .getContext("2d")
    .putImageData(new ImageData(colorLabels(labels, lookup, differing, only), width, height), 0, 0);
  return canvas;
}
