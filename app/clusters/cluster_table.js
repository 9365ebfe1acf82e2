// The clusters in a table. Sorting and the editing of a name happen here; all else is sent to the server.
const COLUMNS = [
  ["tick", "", "Tick all clusters"],
  ["name", "Cluster", "Click a name to change it. Click to sort."],
  ["crops", "Most typical masks", "The masks nearest to the cluster's centre"],
  ["size", "Masks", "Masks in the cluster, without those that were rejected. Click to sort."],
  ["tightness", "Tightness", "Mean cosine of its masks to its centre: 1 if all are alike. Click to sort."],
  ["kept", "Kept", "Share of its judged masks that the filter keeps. Click to sort."],
  ["category", "Category", "Share of its masks of the commonest category that they came with. Click to sort."],
  ["purity", "Purity", "Share of its masks of the commonest ground-truth class, for reporting only. Click to sort."],
];
const BY_NUMBER = ["cluster", 1]; // column and direction
const percent = (share) => (share === null ? "" : `${Math.round(100 * share)} %`);

// What a row is sorted by: given names come before the others, unknown values before 0.
function sortValue(row, column) {
  if (column !== "name") return row[column] ?? -1;
  return (row.given || `\uffff${String(row.cluster).padStart(4, "0")}`).toLowerCase();
}

function sortRows(rows, [column, direction]) {
  const compare = (one, other) => (one < other ? -1 : Number(one > other));
  return [...rows].sort(
    (one, other) =>
      direction * compare(sortValue(one, column), sortValue(other, column)) || one.cluster - other.cluster,
  );
}

// The order after a click on a heading: names rise first and figures fall, then the reverse, then by number again.
function sortAfterClick([column, direction], clicked) {
  const first = clicked === "name" ? 1 : -1;
  if (clicked !== column) return [clicked, first];
  return direction === first ? [column, -first] : BY_NUMBER;
}

class ClusterTable {
  constructor(root) {
    this.root = root;
    this.table = root.querySelector("table");
    this.sort = BY_NUMBER;
    this.lacking = new Lacking();
  }

  update(data, send) {
    Object.assign(this, { data, send: (action) => send("action", action) });
    const named = data.rows.flatMap((row) => row.crops.map(([, name]) => name));
    takePictures(data.pictures, named);
    this.lacking.check(
      named,
      (names) => send("missing", names),
      () => this.draw(),
    );
    this.ticked = new Set(data.ticked);
    if (this.editing === undefined) this.draw();
  }

  draw() {
    const { rows, hasKept, hasTruth, hasCategory } = this.data;
    const optional = { kept: hasKept, purity: hasTruth, category: hasCategory };
    const columns = COLUMNS.filter(([name]) => optional[name] ?? true);
    const largest = Math.max(1, ...rows.map((row) => row.size));
    const head = element("thead"),
      headings = element("tr"),
      body = element("tbody");
    headings.append(...columns.map((column) => this.heading(column)));
    head.append(headings);
    body.append(...sortRows(rows, this.sort).map((row) => this.row(row, columns, largest)));
    const focused = this.root.activeElement?.dataset?.focus;
    this.table.replaceChildren(head, body);
    if (focused) this.focus(focused);
  }

  focus(name) {
    this.table.querySelector(`[data-focus="${name}"]`)?.focus();
  }

  heading([name, text, help]) {
    const cell = element("th", name);
    if (name === "tick") cell.append(this.tickAll(help));
    else if (name === "crops") Object.assign(cell, { textContent: text, title: help });
    else {
      const [column, direction] = this.sort,
        isSorted = name === column;
      const label = button("", text, help, `sort-${name}`);
      label.append(element("span", "arrow", isSorted ? (direction > 0 ? " ↑" : " ↓") : ""));
      if (isSorted) cell.ariaSort = direction > 0 ? "ascending" : "descending";
      label.onclick = () => {
        this.sort = sortAfterClick(this.sort, name);
        this.draw();
      };
      cell.append(label);
    }
    return cell;
  }

  tickAll(label) {
    const { rows } = this.data,
      all = rows.length > 0 && rows.every((row) => this.ticked.has(row.cluster));
    const box = checkbox(all, label, "tick-all");
    box.indeterminate = !all && this.ticked.size > 0;
    box.onchange = () => this.tick(all ? [] : rows.map((row) => row.cluster));
    return box;
  }

  tick(clusters) {
    this.ticked = new Set(clusters);
    this.draw();
    this.send({ kind: "tick", clusters });
  }

  select(event, { cluster }) {
    this.send({ kind: "select", cluster, add: event.shiftKey });
  }

  row(row, columns, largest) {
    const line = element("tr");
    line.classList.toggle("selected", this.data.selected.includes(row.cluster));
    line.classList.toggle("excluded", row.excluded);
    line.onclick = (event) => {
      if (!event.target.closest("button, input")) this.select(event, row);
    };
    const content = {
      tick: () => [this.box(row)],
      name: () => [this.name(row)],
      crops: () => [this.crops(row)],
      size: () => bar(row.size / largest, row.size.toLocaleString("en")),
      tightness: () => bar(row.tightness, row.tightness?.toFixed(2)),
      kept: () => bar(row.kept, percent(row.kept)),
      category: () => bar(row.category, percent(row.category), row.categoryName),
      purity: () => bar(row.purity, percent(row.purity), row.truth),
    };
    for (const [column] of columns) {
      const cell = element("td", column);
      cell.append(...content[column]());
      line.append(cell);
    }
    return line;
  }

  box({ cluster, name }) {
    const box = checkbox(this.ticked.has(cluster), `Tick ${name}`, `tick-${cluster}`);
    box.onchange = () => {
      const others = [...this.ticked].filter((other) => other !== cluster);
      this.tick(box.checked ? [...others, cluster] : others);
    };
    return box;
  }

  name(row) {
    const holder = element("div", "holder"),
      swatch = element("i", "swatch"),
      texts = element("div", "words");
    swatch.style.background = row.color;
    const given = button("given", row.name, `${row.name}: click to change the name`, `name-${row.cluster}`);
    given.onclick = () => this.edit(row, holder);
    const select = button("select", "select", "Select its masks; with Shift, add them");
    select.onclick = (event) => this.select(event, row);
    const notes = [row.given && `cluster ${row.cluster}`, row.excluded && "excluded"].filter(Boolean);
    texts.append(given, element("small", "", notes.join(", ")));
    holder.append(swatch, texts, select);
    return holder;
  }

  edit(row, holder) {
    const input = element("input", "edit"),
      { cluster } = row;
    Object.assign(input, { value: row.given, placeholder: `cluster ${cluster}`, maxLength: 60 });
    input.ariaLabel = `Name of cluster ${cluster}`;
    this.editing = cluster;
    const end = (save) => {
      if (this.editing === undefined) return;
      this.editing = undefined;
      const name = input.value.trim();
      if (save && name !== row.given) {
        Object.assign(row, { given: name, name: name || `cluster ${cluster}` }); // until the server answers
        this.send({ kind: "rename", cluster, name });
      }
      this.draw();
      this.focus(`name-${cluster}`);
    };
    input.onkeydown = (event) => {
      event.stopPropagation();
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault(); // else the key goes on to the button that is focused next
      end(event.key === "Enter");
    };
    input.onblur = () => end(true);
    holder.replaceChildren(holder.firstChild, input);
    input.focus();
    input.select();
  }

  crops(row) {
    const holder = element("div", "montage");
    for (const [mask, picture] of row.crops) {
      const crop = button("", "", `Mask ${mask}: click to open it`),
        image = element("img");
      Object.assign(image, { src: PICTURES.get(picture) ?? "", alt: `Mask ${mask}`, loading: "lazy" });
      crop.onclick = () => this.send({ kind: "open", mask });
      crop.append(image);
      holder.append(crop);
    }
    return holder;
  }
}

function button(className, text, title, focus = "") {
  const made = element("button", className, text);
  Object.assign(made, { type: "button", title });
  if (focus) made.dataset.focus = focus;
  return made;
}

function checkbox(checked, label, focus) {
  const box = element("input");
  Object.assign(box, { type: "checkbox", checked, ariaLabel: label, title: label });
  box.dataset.focus = focus;
  return box;
}

function bar(share, text, below = "") {
  if (share === null || share === undefined) return [element("span", "none", "–")];
  const track = element("span", "track"),
    filled = element("b");
  filled.style.width = `${100 * Math.max(0, Math.min(1, share))}%`;
  track.append(filled);
  return [element("span", "number", text), track, ...(below ? [element("small", "under", below)] : [])];
}

export default mount((root) => new ClusterTable(root));
