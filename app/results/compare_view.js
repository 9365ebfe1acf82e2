// Two label maps of a photo on either side of a slider. A map comes as a grey picture whose pixels are the labels; they
// are coloured, compared and counted here, so that only another photo needs the server.
const LOOKING = { opacity: 60, split: 50, differing: false }; // stays the same from photo to photo
const STEP = 2; // percent, of the arrow keys
const LEAST_HEIGHT = 300; // CSS pixels of the large picture, which otherwise fits onto the screen with its controls
const SCREEN_SHARE = 0.56;
const TILE = 220; // pixels, longer side of a small picture

class CompareView {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(name);
    this.maps = new Map(); // name of a picture -> {labels, width, height}
    this.lacking = new Lacking();
    this.frame = this.find(".frame");
    this.only = null; // key of the class that is pointed at in the legend
    this.find(".opacity").value = LOOKING.opacity;
    this.find(".differing").checked = LOOKING.differing;
    this.find(".opacity").oninput = (event) => {
      LOOKING.opacity = Number(event.target.value);
      this.shade();
    };
    this.find(".differing").onchange = (event) => {
      LOOKING.differing = event.target.checked;
      this.colour();
    };
    this.find(".first").onchange = (event) => this.choose(event.target.value, this.pair[1]);
    this.find(".second").onchange = (event) => this.choose(this.pair[0], event.target.value);
    this.find(".swap").onclick = () => this.choose(this.pair[1], this.pair[0]);
    this.listenToDivider();
    this.listenToHiding();
    this.frame.addEventListener("pointermove", (event) => this.point(event));
    this.frame.addEventListener("pointerleave", () => this.point(null));
    this.observer = new ResizeObserver(() => this.fit());
    this.observer.observe(this.find(".stage"));
  }

  listenToDivider() {
    const move = (event) => {
      const box = this.frame.getBoundingClientRect();
      this.split((100 * (event.clientX - box.left)) / box.width);
    };
    this.frame.onpointerdown = (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      this.dragging = true;
      this.frame.setPointerCapture(event.pointerId);
      this.find(".divider").focus({ preventScroll: true });
      move(event);
    };
    this.frame.addEventListener("pointermove", (event) => {
      if (this.dragging) move(event);
    });
    const end = () => {
      this.dragging = false;
    };
    this.frame.onpointerup = this.frame.onpointercancel = this.frame.onlostpointercapture = end;
    this.find(".divider").onkeydown = (event) => {
      const near = { ArrowLeft: -STEP, ArrowDown: -STEP, ArrowRight: STEP, ArrowUp: STEP, PageDown: -10, PageUp: 10 }[
        event.key
      ];
      const far = { Home: 0, End: 100 }[event.key];
      if (near === undefined && far === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.split(far ?? LOOKING.split + near);
    };
  }

  listenToHiding() {
    const hide = this.find(".hide");
    const hold = (hidden) => {
      this.root.firstElementChild.classList.toggle("bare", hidden);
      hide.classList.toggle("held", hidden);
    };
    hide.onpointerdown = (event) => {
      hide.setPointerCapture(event.pointerId);
      hold(true);
    };
    hide.onpointerup = hide.onpointercancel = hide.onlostpointercapture = () => hold(false);
    this.keydown = (event) => {
      if (event.key.toLowerCase() === "h" && !isTyping(event)) hold(true);
    };
    this.keyup = (event) => {
      if (event.key.toLowerCase() === "h") hold(false);
    };
    this.blur = () => hold(false);
    document.addEventListener("keydown", this.keydown);
    document.addEventListener("keyup", this.keyup);
    window.addEventListener("blur", this.blur);
  }

  async update(data, send) {
    const named = [data.photo, ...data.sides.map((side) => side.picture)].filter(Boolean);
    takePictures(data.pictures, named);
    this.lacking.check(
      named,
      (names) => send("missing", names),
      () => this.update(data, send),
    );
    const before = this.data;
    this.data = data;
    this.send = send;
    const same = before && before.photo === data.photo && JSON.stringify(before.pair) === JSON.stringify(data.pair);
    if (!same || !this.pair) this.pair = data.pair;
    this.pair = this.pair.map((kind) => (data.sides.some((side) => side.kind === kind) ? kind : data.sides[0].kind));
    const turn = (this.turn = (this.turn || 0) + 1);
    await Promise.all(data.sides.map((side) => this.read(side.picture)));
    if (turn !== this.turn) return; // a newer photo has come
    const photo = this.find(".photo"),
      src = PICTURES.get(data.photo) || "";
    if (photo.getAttribute("src") !== src) photo.src = src;
    photo.alt = data.title;
    this.choices();
    this.tiles();
    this.fit();
    this.colour();
  }

  async read(name) {
    if (!name || this.maps.has(name) || !PICTURES.has(name)) return;
    const image = new Image();
    image.src = PICTURES.get(name);
    await image.decode();
    const canvas = new OffscreenCanvas(image.naturalWidth, image.naturalHeight);
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(image, 0, 0);
    const { data, width, height } = context.getImageData(0, 0, canvas.width, canvas.height);
    const labels = new Uint8Array(width * height);
    for (let place = 0; place < labels.length; place += 1) labels[place] = data[4 * place];
    if (this.maps.size > 60) this.maps.clear();
    this.maps.set(name, { labels, width, height });
  }

  side(kind) {
    return this.data.sides.find((side) => side.kind === kind) || this.data.sides[0];
  }

  entry(side, label) {
    const found = this.data.tables[side.table]?.[label];
    const [name, colour, key] = found || [`label ${label}`, "#FFFFFF", `label ${label}`];
    return { name, colour, key };
  }

  choose(first, second) {
    this.pair = [first, second];
    this.choices();
    this.tiles();
    this.colour();
    this.send("pair", [first, second]);
  }

  choices() {
    for (const [place, name] of [".first", ".second"].entries()) {
      const select = this.find(name);
      select.replaceChildren(...this.data.sides.map((side) => new Option(side.name, side.kind)));
      select.value = this.pair[place];
    }
    for (const [place, name] of [".of-left", ".of-right"].entries()) {
      const side = this.side(this.pair[place]);
      this.find(name).textContent = side.note ? `${side.name} · ${side.note}` : side.name;
    }
  }

  fit() {
    if (!this.data) return;
    const room = this.find(".stage").clientWidth;
    const height = Math.min(this.data.maxHeight, Math.max(LEAST_HEIGHT, SCREEN_SHARE * window.innerHeight));
    const width = Math.min(room, height * this.data.aspect);
    Object.assign(this.frame.style, { width: `${width}px`, height: `${width / this.data.aspect}px` });
    this.split(LOOKING.split);
  }

  split(percent) {
    LOOKING.split = Math.min(100, Math.max(0, percent));
    const divider = this.find(".divider");
    divider.style.left = `${LOOKING.split}%`;
    divider.setAttribute("aria-valuenow", Math.round(LOOKING.split));
    this.find(".left").style.clipPath = `inset(0 ${100 - LOOKING.split}% 0 0)`;
    this.find(".right").style.clipPath = `inset(0 0 0 ${LOOKING.split}%)`;
    this.find(".of-left").style.opacity = LOOKING.split < 8 ? 0 : 1;
    this.find(".of-right").style.opacity = LOOKING.split > 92 ? 0 : 1;
  }

  shade() {
    for (const canvas of this.root.querySelectorAll("canvas")) canvas.style.opacity = LOOKING.opacity / 100;
  }

  colour() {
    const sides = this.pair.map((kind) => this.side(kind));
    const maps = sides.map((side) => this.maps.get(side.picture));
    const tables = sides.map((side) => this.lookup(side));
    const both = maps[0] && maps[1] && maps[0].labels.length === maps[1].labels.length;
    const differing = LOOKING.differing && both ? differences(maps, tables) : null;
    for (const [place, name] of [".left", ".right"].entries()) {
      paint(this.find(name), maps[place], tables[place], { differing, only: this.only });
    }
    this.find(".differing").disabled = !both;
    this.shade();
    if (this.only === null) this.legend(sides, maps, tables, both);
  }

  // Of every label: its colour as numbers, and a small number for what it means, equal where two tables mean the same.
  lookup(side) {
    const keys = (this.keys ??= new Map([["background", 0]]));
    const found = { colours: new Uint8ClampedArray(256 * 4), meanings: new Int32Array(256), entries: [] };
    for (let label = 0; label < 256; label += 1) {
      const entry = this.entry(side, label);
      const unknown = label === 255;
      if (!keys.has(entry.key)) keys.set(entry.key, keys.size);
      found.entries.push(entry);
      found.meanings[label] = unknown ? -1 : keys.get(entry.key);
      if (label === 0 || !entry.colour) continue;
      const parts = [1, 3, 5].map((start) => parseInt(entry.colour.slice(start, start + 2), 16));
      found.colours.set([...parts, unknown ? 110 : 255], 4 * label);
    }
    return found;
  }

  tiles() {
    const box = this.find(".tiles");
    const photo = PICTURES.get(this.data.photo) || "";
    const focused = box.contains(this.root.getRootNode().activeElement)
      ? this.root.getRootNode().activeElement.dataset.place
      : null;
    box.replaceChildren(...this.data.sides.map((side) => this.tile(side, photo)));
    if (focused) box.querySelector(`[data-place="${focused}"]`)?.focus();
  }

  tile(side, photo) {
    const tile = element("figure");
    const picture = element("button", "picture");
    picture.title = `${side.name}: show on the right of the slider`;
    picture.dataset.place = `${side.kind}:picture`;
    picture.style.aspectRatio = String(this.data.aspect);
    picture.onclick = () => this.choose(this.pair[0] === side.kind ? this.pair[1] : this.pair[0], side.kind);
    const image = element("img");
    Object.assign(image, { src: photo, alt: "" });
    picture.append(image);
    const map = this.maps.get(side.picture);
    if (map) {
      const canvas = element("canvas");
      paint(canvas, shrunk(map), this.lookup(side), {});
      canvas.style.opacity = LOOKING.opacity / 100;
      picture.append(canvas);
    }
    const words = element("figcaption");
    const name = element("span", "name", side.name);
    name.title = side.name;
    words.append(name, element("span", "note", side.note));
    const sides = element("span", "sides");
    sides.append(this.pick(side, 0, "L", "left"), this.pick(side, 1, "R", "right"));
    words.append(sides);
    tile.append(picture, words);
    tile.classList.toggle("on", this.pair.includes(side.kind));
    return tile;
  }

  pick(side, place, letter, word) {
    const button = element("button", "", letter);
    button.title = `${side.name} on the ${word}`;
    button.setAttribute("aria-label", button.title);
    button.setAttribute("aria-pressed", String(this.pair[place] === side.kind));
    button.dataset.place = `${side.kind}:${letter}`;
    button.onclick = () => this.choose(...(place ? [this.pair[0], side.kind] : [side.kind, this.pair[1]]));
    return button;
  }

  // What is in the two maps, with its share of the photo on the left and on the right.
  legend(sides, maps, tables, both) {
    const found = new Map();
    for (const [place, map] of maps.entries()) {
      if (!map) continue;
      const counts = new Uint32Array(256);
      for (const label of map.labels) counts[label] += 1;
      counts.forEach((count, label) => {
        if (!count || label === 0) return;
        const entry = tables[place].entries[label];
        const row = found.get(entry.key) || { ...entry, shares: [0, 0] };
        if (label !== 255 && sides[place].table !== "truth") row.name = entry.name;
        row.shares[place] += count / map.labels.length;
        found.set(entry.key, row);
      });
    }
    const rows = [...found.values()].sort((one, other) => Math.max(...other.shares) - Math.max(...one.shares));
    const chips = rows.map((row) => this.chip(row, maps.filter(Boolean).length === 2));
    this.find(".legend").replaceChildren(
      ...(chips.length ? chips : [element("span", "none", "No class in these two pictures: background only.")]),
    );
    if (!both && maps[0] && maps[1])
      this.find(".legend").append(element("span", "none", "The two maps differ in size."));
  }

  chip(row, pair) {
    const chip = element("span", "chip");
    chip.tabIndex = 0;
    chip.title = `${row.name}: ${pair ? `${percent(row.shares[0])} of the photo on the left, ${percent(row.shares[1])} on the right` : `${percent(Math.max(...row.shares))} of the photo`}`;
    const swatch = element("i");
    swatch.style.background = row.colour;
    const share = pair ? `${percent(row.shares[0])} | ${percent(row.shares[1])}` : percent(Math.max(...row.shares));
    chip.append(swatch, element("b", "", row.name), element("small", "", share));
    const show = (key) => {
      this.only = key;
      this.colour();
    };
    chip.onpointerenter = chip.onfocus = () => show(row.key);
    chip.onpointerleave = chip.onblur = () => {
      if (this.only !== null) {
        show(null);
      }
    };
    return chip;
  }

  point(event) {
    const tip = this.find(".tip");
    tip.style.display = event ? "block" : "none";
    if (!event || !this.data) return;
    const box = this.frame.getBoundingClientRect();
    const [u, v] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    const lines = this.pair
      .map((kind) => this.side(kind))
      .filter((side) => this.maps.has(side.picture))
      .map((side) => {
        const { labels, width, height } = this.maps.get(side.picture);
        const col = Math.min(width - 1, Math.max(0, Math.floor(u * width)));
        const row = Math.min(height - 1, Math.max(0, Math.floor(v * height)));
        const entry = this.entry(side, labels[row * width + col]);
        const line = element("div");
        const swatch = element("i");
        swatch.style.background = entry.colour || "transparent";
        line.append(swatch, element("small", "", `${side.name}: `), element("b", "", entry.name));
        return line;
      });
    tip.replaceChildren(...lines);
    tip.style.display = lines.length ? "block" : "none";
    tip.classList.toggle("flip-x", u > 0.5);
    tip.classList.toggle("flip-y", v > 0.7);
    Object.assign(tip.style, { left: `${100 * u}%`, top: `${100 * v}%` });
  }

  destroy() {
    document.removeEventListener("keydown", this.keydown);
    document.removeEventListener("keyup", this.keyup);
    window.removeEventListener("blur", this.blur);
    this.observer.disconnect();
  }
}

function differences(maps, tables) {
  const [first, second] = maps.map((map) => map.labels);
  const differing = new Uint8Array(first.length);
  for (let place = 0; place < first.length; place += 1) {
    const [one, other] = [tables[0].meanings[first[place]], tables[1].meanings[second[place]]];
    differing[place] = one !== other && one >= 0 && other >= 0;
  }
  return differing;
}

function paint(canvas, map, table, { differing = null, only = null }) {
  if (!map) {
    canvas.width = canvas.height = 1;
    return;
  }
  const { labels, width, height } = map;
  canvas.width = width;
  canvas.height = height;
  const shown = table.entries.map((entry) => only === null || entry.key === only);
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer),
    colours = new Uint32Array(table.colours.buffer);
  for (let place = 0; place < labels.length; place += 1) {
    const label = labels[place];
    if (differing && !differing[place])
      pixels[place] = 0x73000000; // dimmed: here the two agree
    else if (shown[label]) pixels[place] = colours[label];
    if (differing?.[place] && label === 0) pixels[place] = 0xb0ffffff; // background where the other has a class
  }
  canvas.getContext("2d").putImageData(image, 0, 0);
}

function shrunk({ labels, width, height }) {
  const scale = Math.min(1, TILE / Math.max(width, height));
  const [cols, rows] = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
  const small = new Uint8Array(cols * rows);
  for (let row = 0; row < rows; row += 1) {
    const from = Math.floor(((row + 0.5) * height) / rows) * width;
    for (let col = 0; col < cols; col += 1)
      small[row * cols + col] = labels[from + Math.floor(((col + 0.5) * width) / cols)];
  }
  return { labels: small, width: cols, height: rows };
}

function percent(share) {
  if (share > 0 && share < 0.0005) return "< 0.1 %";
  return `${(100 * share).toFixed(share > 0 && share < 0.0995 ? 1 : 0)} %`;
}

export default mount((root) => new CompareView(root));
