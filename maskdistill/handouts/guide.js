// The steps one by one, and what can be moved in each. Without a script all steps stand below each other.
const root = document.documentElement;
const steps = [...document.querySelectorAll(".guide > section")];
const links = [...document.querySelectorAll(".steps a")];
const [back, next, bare] = ["back", "next", "bare"].map((name) => document.querySelector(`.walk .${name}`));
let here = 0;

function go(place, move = true) {
  here = Math.min(Math.max(place, 0), steps.length - 1);
  steps.forEach((step, number) => {
    step.hidden = number !== here;
  });
  links.forEach((link, number) => {
    if (number === here) link.setAttribute("aria-current", "step");
    else link.removeAttribute("aria-current");
  });
  back.disabled = here === 0;
  next.disabled = here === steps.length - 1;
  if (move) {
    history.replaceState(null, "", `#${steps[here].id}`);
    window.scrollTo(0, 0);
  }
}

function fromAddress() {
  const place = steps.findIndex((step) => `#${step.id}` === location.hash);
  go(Math.max(place, 0), false);
}

function hideLayers(hidden) {
  document.body.classList.toggle("bare", hidden);
  bare.setAttribute("aria-pressed", hidden);
}

const MOVES = { ArrowRight: 1, ArrowLeft: -1, PageDown: 1, PageUp: -1 };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
  if (event.target.matches("input, select, textarea")) return; // they have arrows of their own
  if (event.key in MOVES) go(here + MOVES[event.key]);
  else if (event.key === "Home") go(0);
  else if (event.key === "End") go(steps.length - 1);
  else if (event.key === "h" || event.key === "H") hideLayers(!document.body.classList.contains("bare"));
  else return;
  event.preventDefault();
});
back.onclick = () => go(here - 1);
next.onclick = () => go(here + 1);
bare.onclick = () => hideLayers(!document.body.classList.contains("bare"));
links.forEach((link, place) => {
  link.onclick = (event) => {
    event.preventDefault();
    go(place);
  };
});
window.addEventListener("hashchange", fromAddress);

// A control of frames shows one of the frames of its step.
for (const control of document.querySelectorAll("[data-frames]")) {
  const step = control.closest("section");
  const frames = [...step.querySelectorAll(".two .scene .frame, .boards > .frame-board")];
  const said = step.querySelector(".said");
  const output = control.querySelector("output");
  control.addEventListener("input", (event) => {
    const place = Number(event.target.value);
    frames.forEach((frame, number) => {
      frame.hidden = number !== place;
    });
    if (said) said.textContent = frames[place].dataset.facts;
    if (output) {
      output.textContent = event.target.dataset.names.split("|")[place];
      event.target.setAttribute("aria-valuetext", output.textContent);
    }
  });
}

// The border between two label maps.
for (const input of document.querySelectorAll("[data-wipe]")) {
  const scene = input.closest("section").querySelector(".scene");
  input.addEventListener("input", () => scene.style.setProperty("--wipe", `${input.value}%`));
}

// Affinity of any patch: a gray picture holds a row for each of them.
const board = document.querySelector("[data-affinity]");
if (board) {
  const about = JSON.parse(document.getElementById("affinity-data").textContent);
  const canvas = board.querySelector("canvas");
  const ring = board.querySelector(".ring");
  const frame = board.querySelector(".frame");
  const said = board.closest("section").querySelector(".said");
  const [row, col] = ["row", "col"].map((name) => board.closest("section").querySelector(`[name=${name}]`));
  const source = new Image();
  let values = null;

  source.onload = () => {
    const copy = document.createElement("canvas");
    copy.width = source.width;
    copy.height = source.height;
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(source, 0, 0);
    values = context.getImageData(0, 0, source.width, source.height).data;
  };
  source.src = about.picture;

  const pick = (y, x) => {
    const place = [Math.min(Math.max(y, 0), about.rows - 1), Math.min(Math.max(x, 0), about.cols - 1)];
    const count = about.rows * about.cols;
    const start = (place[0] * about.cols + place[1]) * count;
    const context = canvas.getContext("2d");
    const pixels = context.createImageData(about.cols, about.rows);
    let linked = 0;
    for (let patch = 0; patch < count; patch++) {
      const value = values[4 * (start + patch)];
      if (about.low + (value / 255) * (1 - about.low) > about.tau) linked++;
      pixels.data.set(about.colors[value], 4 * patch);
      pixels.data[4 * patch + 3] = 255;
    }
    context.putImageData(pixels, 0, 0);
    canvas.hidden = false;
    frame.hidden = true;
    ring.style.left = `${100 * place[1] * about.cell[0]}%`;
    ring.style.top = `${100 * place[0] * about.cell[1]}%`;
    row.value = place[0] + 1;
    col.value = place[1] + 1;
    const share = Math.round((100 * linked) / count);
    const where = `Ring: row ${place[0] + 1}, column ${place[1] + 1}`;
    said.textContent = `${where}; ${share}% of the patches have an affinity above τ = ${about.tau}`;
  };
  board.addEventListener("click", (event) => {
    if (!values) return;
    const box = board.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width / about.cell[0];
    const y = (event.clientY - box.top) / box.height / about.cell[1];
    pick(Math.floor(y), Math.floor(x));
  });
  for (const input of [row, col]) {
    input.addEventListener("input", () => values && row.value && col.value && pick(row.value - 1, col.value - 1));
  }
}

root.classList.add("js");
fromAddress();
