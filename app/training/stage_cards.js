// The stages of a run: name, and its state by icon, color and text; a click or the arrow keys choose one.
const ICONS = {
  done: '<circle cx="12" cy="12" r="9.5"/><path d="m7.5 12.4 3 3 6-6.4"/>',
  stale: '<path d="M12 3 2.5 20h19z"/><path d="M12 10v4.5M12 17.2v.1"/>',
  running: '<path d="M21 12a9 9 0 1 1-3-6.7"/><path d="M21 3v4.5h-4.5"/>',
  stopped: '<circle cx="12" cy="12" r="9.5"/><path d="M9 9h6v6H9z"/>',
  failed: '<circle cx="12" cy="12" r="9.5"/><path d="m8.5 8.5 7 7m0-7-7 7"/>',
  next: '<circle cx="12" cy="12" r="9.5"/><path d="M8 12h8m-3.2-3.4L16 12l-3.2 3.4"/>',
  todo: '<circle cx="12" cy="12" r="9.5" stroke-dasharray="2.5 4"/>',
};

function card(item, selected, pick) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = item.mark;
  button.title = item.text;
  button.setAttribute("role", "option");
  button.setAttribute("aria-selected", String(item.name === selected));
  const label = document.createElement("span");
  label.className = "label";
  label.textContent = item.label;
  const state = document.createElement("span");
  state.className = "state";
  state.innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true">${ICONS[item.mark]}</svg>`;
  state.append(item.state);
  button.append(label, state);
  button.onclick = () => pick(item.name);
  return button;
}

function walk(event, box) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const next = [...box.children][[...box.children].indexOf(event.target.closest("button")) + step];
  if (next) {
    next.focus();
    next.click();
  }
}

export default mount((root) => ({
  update(data, send) {
    const box = root.querySelector(".strip");
    const focused = [...box.children].indexOf(root.activeElement);
    box.replaceChildren(...data.items.map((item) => card(item, data.selected, (name) => send("pick", name))));
    box.onkeydown = (event) => walk(event, box);
    if (focused >= 0 && box.children[focused]) box.children[focused].focus();
  },
}));
