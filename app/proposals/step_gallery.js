// Pictures of a derivation in a grid; a click shows one large, arrow keys walk through them.
const GAP = 14; // pixels between pictures

// Columns of a grid whose rows are about equally long: seven pictures stand as four and three, not as six and one.
function columnsOf(count, width, minWidth) {
  const most = Math.max(1, Math.floor((width + GAP) / (minWidth + GAP)));
  return Math.ceil(count / Math.ceil(count / most));
}

// The ring around a patch, two patches wide so that it is seen from afar, in percent of the picture.
function ringAround([row, col], { rows, cols, fx, fy }) {
  const [width, height] = [(100 * fx) / cols, (100 * fy) / rows];
  const box = { left: (col - 0.5) * width, top: (row - 0.5) * height, width: 2 * width, height: 2 * height };
  return Object.fromEntries(Object.entries(box).map(([name, value]) => [name, `${value}%`]));
}

function caption(step) {
  const box = element("figcaption", "");
  box.append(element("strong", "", step.title), element("span", "text", step.caption));
  if (step.ends) box.append(colorScale(step));
  return box;
}

function colorScale({ ends, gradient }) {
  const scale = element("div", "scale");
  const bar = element("div", "");
  bar.style.background = gradient;
  scale.append(element("span", "", ends[0]), bar, element("span", "", ends[1]));
  return scale;
}

class StepGallery {
  constructor(root) {
    this.root = root;
    this.find = (name) => root.querySelector(name);
    this.find(".beneath").oninput = () => this.blend();
    const dialog = this.find("dialog");
    dialog.onclick = (event) => {
      if (event.target === dialog) dialog.close();
    };
    dialog.onkeydown = (event) => {
      const direction = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (direction) {
        event.preventDefault();
        event.stopPropagation();
        this.open(this.number + direction);
      }
    };
    this.find(".previous").onclick = () => this.open(this.number - 1);
    this.find(".next").onclick = () => this.open(this.number + 1);
    this.find(".close").onclick = () => dialog.close();
    this.observer = new ResizeObserver(() => {
      this.arrange();
      this.sizeLarge();
    });
    this.observer.observe(this.find(".gallery"));
  }

  update(data) {
    this.data = data;
    this.steps = data.sections.flatMap((section) => section.steps);
    this.find(".sections").replaceChildren(...data.sections.map((section) => this.section(section)));
    this.blend();
    this.arrange();
    if (this.find("dialog").open) this.open(Math.min(this.number, this.steps.length - 1));
  }

  section({ title, text, steps, minWidth }) {
    const box = document.createElement("section");
    const grid = element("div", "grid");
    grid.dataset.minWidth = minWidth;
    grid.append(
      ...steps.map((step) => {
        const figure = document.createElement("figure");
        const picture = this.picture(step, "button");
        picture.title = "Show large";
        picture.onclick = () => this.open(this.steps.indexOf(step));
        figure.append(picture, caption(step));
        return figure;
      }),
    );
    box.append(element("h4", "", title), element("p", "", text), grid);
    return box;
  }

  arrange() {
    for (const grid of this.root.querySelectorAll(".grid")) {
      const minWidth = Number(grid.dataset.minWidth);
      const columns = columnsOf(grid.children.length, grid.clientWidth, minWidth);
      grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, ${2.3 * minWidth}px))`;
    }
  }

  picture(step, tag) {
    const { aspect, photo, grid } = this.data;
    const box = element(tag, "picture");
    box.style.aspectRatio = String(aspect);
    const below = Object.assign(document.createElement("img"), { className: "photo", src: photo, alt: "" });
    const alt = `${step.title}. ${step.caption}`;
    const layer = Object.assign(document.createElement("img"), { className: "layer", src: step.src, alt });
    const [fx, fy] = step.onPatches ? [grid.fx, grid.fy] : [1, 1];
    Object.assign(layer.style, { width: `${100 * fx}%`, height: `${100 * fy}%` });
    layer.dataset.kind = step.ends ? "map" : "mask";
    box.append(below, layer);
    if (step.mark) {
      const ring = element("div", "mark");
      Object.assign(ring.style, ringAround(step.mark, grid));
      box.append(ring);
    }
    return box;
  }

  blend() {
    const share = this.find(".beneath").value / 100;
    for (const layer of this.root.querySelectorAll(".layer")) {
      layer.style.opacity = layer.dataset.kind === "map" ? String(1 - share) : "0.75";
    }
  }

  open(number) {
    const count = this.steps.length;
    this.number = (number + count) % count;
    const step = this.steps[this.number];
    this.find(".large").replaceChildren(this.picture(step, "div"));
    this.find(".caption").replaceChildren(caption(step));
    this.find(".place").textContent = `${this.number + 1} of ${count}`;
    this.blend();
    if (!this.find("dialog").open) this.find("dialog").showModal();
    this.sizeLarge();
  }

  sizeLarge() {
    const room = this.find(".large");
    const width = Math.min(room.clientWidth, room.clientHeight * this.data?.aspect);
    if (room.firstElementChild) {
      Object.assign(room.firstElementChild.style, { width: `${width}px`, height: `${width / this.data.aspect}px` });
    }
  }

  destroy() {
    this.observer.disconnect();
  }
}

export default mount((root) => new StepGallery(root));
