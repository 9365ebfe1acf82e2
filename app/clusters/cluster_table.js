// The clusters in a table: sorting and editing a name happen here, all else is told to the server.
const COLUMNS = [
  ["tick", "", ""],
  ["name", "Cluster", "Click a name to change it"],
  ["crops", "Most typical masks", "The masks nearest to the cluster's centre"],
  ["size", "Masks", "Masks in the cluster, without those that were rejected"],
  ["tightness", "Tightness", "Mean cosine of its masks to its centre: 1 if all are alike"],
  ["kept", "Kept", "Share of its judged masks that the filter keeps"],
  ["purity", "Purity", "Share of its masks of the commonest ground-truth class. For reporting only: no stage sees it"],
];

class ClusterTable {
  constructor(root) {
    this.root = root;
    this.table = root.querySelector("table");
    this.sort = ["cluster", 1];
    this.missing = new Lacking();
  }

  update(data, send) {
    Object.assign(this, { data, send });
    const named = data.rows.flatMap((row) => row.crops.map(([, name]) => name));
    takePictures(data.pictures, named);
    this.missing.check(
      named,
      (names) => send("missing", names),
      () => this.draw(),
    );
    this.ticked = new Set(data.ticked);
    if (this.editing === undefined) this.draw();
  }

  draw() {
    const { data } = this,
      hidden = { kept: !data.hasKept, purity: !data.hasTruth };
    const columns = COLUMNS.filter(([name]) => !hidden[name]);
    const largest = Math.max(1, ...data.rows.map((row) => row.size));
    const [by, way] = this.sort;
    const value = (row) =>
      by === "name" ? (row.given || `\uffff${String(row.cluster).padStart(4, "0")}`).toLowerCase() : (row[by] ?? -1);
    const rows = [...data.rows].sort(
      (one, other) =>
        way * (value(one) < value(other) ? -1 : value(one) > value(other) ? 1 : one.cluster - other.cluster),
    );
    const head = element("thead"),
      line = element("tr");
    line.append(...columns.map((column) => this.heading(column)));
    head.append(line);
    const body = element("tbody");
    body.append(...rows.map((row) => this.row(row, columns, largest)));
    const focused = this.root.activeElement?.dataset?.focus;
    this.table.replaceChildren(head, body);
    if (focused) this.table.querySelector(`[data-focus="${focused}"]`)?.focus();
  }

  heading([name, words, help]) {
    const cell = element("th", name);
    if (name === "tick") return this.tickAll(cell);
    if (name === "crops") {
      cell.textContent = words;
      cell.title = help;
      return cell;
    }
    const button = element("button", "", words);
    const sorted = this.sort[0] === name;
    Object.assign(button, { type: "button", title: `${help}. Click to sort.` });
    button.dataset.focus = `sort-${name}`;
    if (sorted) cell.setAttribute("aria-sort", this.sort[1] > 0 ? "ascending" : "descending");
    button.append(element("span", "arrow", sorted ? (this.sort[1] > 0 ? " ↑" : " ↓") : ""));
    button.onclick = () => {
      const first = name === "name" ? 1 : -1;
      this.sort = !sorted ? [name, first] : this.sort[1] === first ? [name, -first] : ["cluster", 1];
      this.draw();
    };
    cell.append(button);
    return cell;
  }

  tickAll(cell) {
    const box = element("input");
    const all = this.data.rows.length > 0 && this.data.rows.every((row) => this.ticked.has(row.cluster));
    Object.assign(box, {
      type: "checkbox",
      checked: all,
      title: "Tick all clusters",
      indeterminate: !all && this.ticked.size > 0,
    });
    box.setAttribute("aria-label", "Tick all clusters");
    box.onchange = () => this.tick(all ? [] : this.data.rows.map((row) => row.cluster));
    cell.append(box);
    return cell;
  }

  tick(clusters) {
    this.ticked = new Set(clusters);
    this.draw();
    this.send("action", { kind: "tick", clusters });
  }

  row(row, columns, largest) {
    const line = element("tr");
    line.classList.toggle("selected", this.data.selected.includes(row.cluster));
    line.classList.toggle("excluded", row.excluded);
    line.onclick = (event) => {
      if (!event.target.closest("button, input"))
        this.send("action", { kind: "select", cluster: row.cluster, add: event.shiftKey });
    };
    const fill = { tick: () => this.box(row), name: () => this.name(row), crops: () => this.crops(row) };
    const measures = {
      size: () => bar(row.size / largest, row.size.toLocaleString("en")),
      tightness: () => bar(row.tightness, row.tightness?.toFixed(2)),
      kept: () => bar(row.kept, row.kept === null ? "" : `${Math.round(100 * row.kept)} %`),
      purity: () => bar(row.purity, row.purity === null ? "" : `${Math.round(100 * row.purity)} %`, row.truth),
    };
    line.append(
      ...columns.map(([name]) => {
        const cell = element("td", name);
        cell.append(...(fill[name] ?? measures[name])());
        return cell;
      }),
    );
    return line;
  }

  box(row) {
    const box = element("input");
    Object.assign(box, { type: "checkbox", checked: this.ticked.has(row.cluster) });
    box.setAttribute("aria-label", `Tick ${row.name}`);
    box.dataset.focus = `tick-${row.cluster}`;
    box.onchange = () => {
      box.checked ? this.ticked.add(row.cluster) : this.ticked.delete(row.cluster);
      this.tick([...this.ticked]);
    };
    return [box];
  }

  name(row) {
    const holder = element("div", "holder"),
      swatch = element("i", "swatch");
    swatch.style.background = row.color;
    const button = element("button", "given", row.name);
    Object.assign(button, { type: "button", title: `${row.name}: click to change the name` });
    button.dataset.focus = `name-${row.cluster}`;
    button.onclick = () => this.edit(row, holder);
    const select = element("button", "select", "select");
    Object.assign(select, { type: "button", title: "Select its masks; with Shift, add them" });
    select.onclick = (event) => this.send("action", { kind: "select", cluster: row.cluster, add: event.shiftKey });
    const notes = [row.given ? `cluster ${row.cluster}` : "", row.excluded ? "excluded" : ""]
      .filter(Boolean)
      .join(", ");
    const words = element("div", "words");
    words.append(button, element("small", "", notes));
    holder.append(swatch, words, select);
    return [holder];
  }

  edit(row, holder) {
    const input = element("input", "edit");
    Object.assign(input, { value: row.given, placeholder: `cluster ${row.cluster}`, maxLength: 60 });
    input.setAttribute("aria-label", `Name of cluster ${row.cluster}`);
    this.editing = row.cluster;
    const done = (save) => {
      if (this.editing === undefined) return;
      this.editing = undefined;
      const name = input.value.trim();
      if (save && name !== row.given) {
        Object.assign(row, { given: name, name: name || `cluster ${row.cluster}` }); // until the server answers
        this.send("action", { kind: "rename", cluster: row.cluster, name });
      }
      this.draw();
      this.table.querySelector(`[data-focus="name-${row.cluster}"]`)?.focus();
    };
    input.onkeydown = (event) => {
      event.stopPropagation();
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault(); // else the key goes on to the button that is focused next
      done(event.key === "Enter");
    };
    input.onblur = () => done(true);
    holder.replaceChildren(holder.firstChild, input);
    input.focus();
    input.select();
  }

  crops(row) {
    const holder = element("div", "montage");
    holder.append(
      ...row.crops.map(([mask, picture]) => {
        const button = element("button"),
          image = element("img");
        Object.assign(button, { type: "button", title: `Mask ${mask}: click to open it` });
        Object.assign(image, { src: PICTURES.get(picture) ?? "", alt: `Mask ${mask}`, loading: "lazy" });
        button.onclick = () => this.send("action", { kind: "open", mask });
        button.append(image);
        return button;
      }),
    );
    return [holder];
  }
}

function bar(share, text, under = "") {
  if (share === null || share === undefined) return [element("span", "none", "–")];
  const track = element("span", "track"),
    filled = element("b");
  filled.style.width = `${100 * Math.max(0, Math.min(1, share))}%`;
  track.append(filled);
  const number = element("span", "number", text);
  return [number, track, ...(under ? [element("small", "under", under)] : [])];
}

export default mount((root) => new ClusterTable(root));
