// Pictures of a derivation in a grid; a click shows one large, arrow keys walk through them.
class Panels {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(name);
    this.find(".beneath").oninput = () => this.blend();
    const dialog = this.find("dialog");
    dialog.onclick = (event) => {
      if (event.target === dialog) dialog.close();
    };
    dialog.onkeydown = (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (step) {
        event.preventDefault();
        event.stopPropagation();
        this.open(this.number + step);
      }
    };
    this.find(".previous").onclick = () => this.open(this.number - 1);
    this.find(".next").onclick = () => this.open(this.number + 1);
    this.find(".close").onclick = () => dialog.close();
    this.observer = new ResizeObserver(() => {
      this.arrange();
      this.sizeBig();
    });
    this.observer.observe(this.find(".panels"));
  }

  update(data) {
    this.data = data;
    this.panels = data.sections.flatMap((section) => section.panels);
    this.find(".sections").replaceChildren(...data.sections.map((section) => this.section(section)));
    this.blend();
    this.arrange();
    if (this.find("dialog").open) this.open(Math.min(this.number, this.panels.length - 1));
  }

  section({ title, text, panels, minWidth }) {
    const box = document.createElement("section");
    const heading = document.createElement("h4"),
      words = document.createElement("p"),
      grid = document.createElement("div");
    heading.textContent = title;
    words.textContent = text;
    grid.className = "grid";
    grid.dataset.minWidth = minWidth;
    grid.append(
      ...panels.map((panel) => {
        const figure = document.createElement("figure");
        const picture = this.picture(panel, "button");
        picture.title = "Show large";
        picture.onclick = () => this.open(this.panels.indexOf(panel));
        figure.append(picture, caption(panel));
        return figure;
      }),
    );
    box.append(heading, words, grid);
    return box;
  }

  // Rows of about equal length: seven pictures stand as four and three, not as six and one.
  arrange() {
    for (const grid of this.root.querySelectorAll(".grid")) {
      const most = Math.max(1, Math.floor((grid.clientWidth + 14) / (Number(grid.dataset.minWidth) + 14)));
      const rows = Math.ceil(grid.children.length / most);
      const widest = 2.3 * Number(grid.dataset.minWidth);
      grid.style.gridTemplateColumns = `repeat(${Math.ceil(grid.children.length / rows)}, minmax(0, ${widest}px))`;
    }
  }

  picture(panel, tag) {
    const box = document.createElement(tag);
    box.className = "picture";
    box.style.aspectRatio = String(this.data.aspect);
    const photo = document.createElement("img");
    Object.assign(photo, { className: "photo", src: this.data.photo, alt: "" });
    const layer = document.createElement("img");
    Object.assign(layer, { className: "layer", src: panel.src, alt: `${panel.title}. ${panel.caption}` });
    const [fx, fy] = panel.onPatches ? [this.data.grid.fx, this.data.grid.fy] : [1, 1];
    Object.assign(layer.style, { width: `${100 * fx}%`, height: `${100 * fy}%` });
    layer.dataset.kind = panel.ends ? "map" : "mask";
    box.append(photo, layer);
    if (panel.mark) box.append(this.ring(panel.mark));
    return box;
  }

  ring([row, col]) {
    const { rows, cols, fx, fy } = this.data.grid;
    const mark = document.createElement("div");
    mark.className = "mark";
    const [width, height] = [(100 * fx) / cols, (100 * fy) / rows];
    // A ring of two patches' width is seen from the back row.
    Object.assign(mark.style, {
      left: `${(col - 0.5) * width}%`,
      top: `${(row - 0.5) * height}%`,
      width: `${2 * width}%`,
      height: `${2 * height}%`,
    });
    return mark;
  }

  blend() {
    const photo = this.find(".beneath").value / 100;
    for (const layer of this.root.querySelectorAll(".layer")) {
      layer.style.opacity = layer.dataset.kind === "map" ? String(1 - photo) : "0.75";
    }
  }

  open(number) {
    const count = this.panels.length;
    this.number = (number + count) % count;
    const panel = this.panels[this.number];
    this.find(".room").replaceChildren(this.picture(panel, "div"));
    this.find(".words").replaceChildren(caption(panel));
    this.find(".place").textContent = `${this.number + 1} of ${count}`;
    this.blend();
    if (!this.find("dialog").open) this.find("dialog").showModal();
    this.sizeBig();
  }

  sizeBig() {
    const room = this.find(".room"),
      picture = room.firstElementChild;
    if (!picture) return;
    const width = Math.min(room.clientWidth, room.clientHeight * this.data.aspect);
    Object.assign(picture.style, { width: `${width}px`, height: `${width / this.data.aspect}px` });
  }

  destroy() {
    this.observer.disconnect();
  }
}

function caption(panel) {
  const words = document.createElement("figcaption");
  const title = document.createElement("strong");
  title.textContent = panel.title;
  const text = document.createElement("span");
  text.className = "text";
  text.textContent = panel.caption;
  words.append(...(panel.ends ? [title, text, ramp(panel)] : [title, text]));
  return words;
}

function ramp(panel) {
  const scale = document.createElement("div");
  scale.className = "scale";
  const [low, bar, high] = ["span", "div", "span"].map((tag) => document.createElement(tag));
  [low.textContent, high.textContent] = panel.ends;
  bar.style.background = panel.gradient;
  scale.append(low, bar, high);
  return scale;
}

export default mount((root) => new Panels(root));
