// Thumbnails as a strip or a grid; a click or the arrow keys choose one.
function tile(item, selected, pick) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("role", "option");
  button.setAttribute("aria-selected", String(item.id === selected));
  button.title = item.title;
  const picture = document.createElement("span");
  picture.className = item.src ? "picture" : "picture empty";
  if (item.src) {
    const image = document.createElement("img");
    Object.assign(image, { src: item.src, alt: item.name, loading: "lazy" });
    picture.append(image);
  }
  if (item.badge) {
    const badge = document.createElement("span");
    badge.className = item.warn ? "badge warn" : "badge";
    badge.textContent = item.badge;
    picture.append(badge);
  }
  const name = document.createElement("span");
  name.className = "name";
  name.textContent = item.name;
  button.append(picture, name);
  button.onclick = () => pick(item.id);
  return button;
}

function walk(event, box) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const tiles = [...box.children];
  const next = tiles[tiles.indexOf(event.target.closest("button")) + step];
  if (next) {
    next.focus();
    next.click();
  }
}

export default mount((root) => ({
  update(data, send) {
    const box = root.querySelector(".thumbs");
    box.className = `thumbs ${data.layout}`;
    const focused = root.activeElement && [...box.children].indexOf(root.activeElement);
    box.replaceChildren(...data.items.map((item) => tile(item, data.selected, (id) => send("pick", id))));
    box.onkeydown = (event) => walk(event, box);
    if (focused !== null && focused >= 0 && box.children[focused]) box.children[focused].focus();
    box.onscroll = () => box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 4);
    requestAnimationFrame(box.onscroll);
    const chosen = box.querySelector('[aria-selected="true"]');
    if (chosen && data.layout === "strip") {
      const left = chosen.offsetLeft - box.offsetLeft;
      if (left < box.scrollLeft || left + chosen.offsetWidth > box.scrollLeft + box.clientWidth)
        box.scrollLeft = left - box.clientWidth / 2;
    }
  },
}));
