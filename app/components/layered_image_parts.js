// The slider below the picture, and what is listed on and below it. Views move here; other sliders ask the server, also
// while they are moved. A slider that the mouse has let go of loses the focus, so that arrow keys are the page's again.
const PLAY = 650; // milliseconds a view
const SETTLED = 700; // milliseconds after the last movement from which the server's value counts again

class SliderBar {
  constructor(image) {
    this.image = image;
    this.find = image.find;
    this.input = this.find(".place");
    this.movedAt = -Infinity;
    this.timer = null; // of playing
    this.input.oninput = () => {
      this.stop();
      this.moved();
    };
    this.input.onchange = () => this.image.ask(0, this.value);
    this.input.onpointerup = () => this.input.blur();
    this.input.onkeydown = (event) => {
      if (event.key === "Escape") this.input.blur();
    };
    this.find(".play").onclick = () => (this.timer === null ? this.play() : this.stop());
  }

  get value() {
    return Number(this.input.value);
  }

  update({ slider, views }, other) {
    if (other) this.stop();
    this.slider = slider;
    this.find(".slider").hidden = !slider;
    if (!slider) return;
    this.views = views.length > 1 ? views : null;
    this.find(".slider label").textContent = slider.label;
    this.find(".play").hidden = !this.views;
    const { low: min, high: max, step } = slider;
    Object.assign(this.input, { min, max, step, disabled: max <= min });
    this.input.setAttribute("aria-label", slider.name || slider.label);
    if (other || (performance.now() - this.movedAt > SETTLED && this.timer === null)) this.input.value = slider.value;
    this.show();
  }

  show() {
    const { low, high, digits } = this.slider;
    const text = this.views ? (this.views[this.value]?.name ?? "") : this.value.toFixed(digits).replace("-", "−");
    this.find("output").textContent = text;
    this.input.setAttribute("aria-valuetext", text);
    this.input.style.setProperty("--filled", `${(100 * (this.value - low)) / Math.max(high - low, 1e-9)}%`);
    if (this.views) this.image.paint();
  }

  moved() {
    this.movedAt = performance.now();
    this.show();
    if (!this.views) this.image.ask(EVERY, this.value);
  }

  play() {
    if (this.value >= this.slider.high) this.input.value = this.slider.low;
    this.show();
    this.find(".play").textContent = "Pause";
    this.timer = setInterval(() => {
      this.input.value = this.value + 1;
      this.show();
      if (this.value < this.slider.high) return;
      this.stop();
      this.movedAt = performance.now();
      this.image.ask(0, this.value);
    }, PLAY);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = null;
    this.find(".play").textContent = "Play";
  }
}

// One mask of the list below: a box to switch it off, its score and what that is made of.
function maskRow(layer, isOn, onSwitch) {
  const box = element("input");
  Object.assign(box, { type: "checkbox", checked: isOn, onchange: () => onSwitch(box.checked) });
  const swatch = element("span", "swatch");
  swatch.style.background = layer.color;
  const score = element("span", "score", layer.score, element("small", "", "score"));
  const parts = element("div", "parts", ...layer.parts.map(scoreBar));
  return element("div", "mask", element("label", "name", box, swatch, element("span", "", layer.name)), score, parts);
}

function scoreBar(part) {
  const filled = element("b");
  filled.style.width = `${100 * part.value}%`;
  const text = element("span", "", element("span", "", part.name), element("span", "", part.value.toFixed(2)));
  const bar = element("div", "part", text, element("i", "", filled));
  bar.title = part.help;
  return bar;
}

// What the colours mean, on the picture.
function scaleItems(scale, keys) {
  const items = [];
  if (scale) {
    const ramp = element("i", "ramp");
    ramp.style.background = scale.gradient;
    items.push(
      element("span", "", scale.title),
      element("span", "", scale.ends[0]),
      ramp,
      element("span", "", scale.ends[1]),
    );
  }
  for (const [color, text] of keys) {
    const dot = element("i", "dot");
    dot.style.background = color;
    items.push(element("span", "key", dot, text));
  }
  return items;
}

function tagAt(tag) {
  const box = element("span", tag.out ? "tag out" : "tag", tag.text);
  const left = `clamp(2.2em, ${100 * tag.u}%, 100% - 2.2em)`;
  Object.assign(box.style, { left, top: `${100 * tag.v}%`, borderColor: tag.color });
  return box;
}
