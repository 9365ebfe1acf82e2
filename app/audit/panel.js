// What stands around the picture: progress, the mask's story, the clusters under the keys, the strip of masks.
function drawProgress(desk) {
  const { progress } = desk.answer;
  const waiting = desk.strokes.pending.length;
  const count = (number) => number.toLocaleString("en");
  desk.find(".count").textContent = `${count(progress.done)} of ${count(progress.total)} done`;
  desk.find(".pace").textContent = [progress.pace, progress.left].filter(Boolean).join(" · ");
  for (const name of ["accepted", "rejected", "relabelled", "skipped"]) {
    desk.find(`.tally .${name} b`).textContent = count(progress[name]);
    desk
      .find(`.track .${name}`)
      ?.style.setProperty("width", `${(100 * progress[name]) / Math.max(progress.total, 1)}%`);
  }
  const saved = desk.find(".saved");
  saved.textContent = waiting ? `saving ${waiting}` : "saved";
  saved.classList.toggle("waiting", waiting > 0);
}

function drawPanel(desk) {
  const card = desk.at === null ? null : desk.picture.card(desk.at);
  const over = desk.at === null && Boolean(desk.answer.over) && !desk.strokes.waiting && !desk.strokes.pending.length;
  desk.find(".desk").classList.toggle("over", over);
  desk.find(".over-text").textContent = over ? desk.answer.over.title : "";
  desk.find(".over-next").replaceChildren(...(over ? desk.answer.over.lines.map((line) => made("li", "", line)) : []));
  desk.find(".tick").hidden = Boolean(over && desk.answer.over.empty);
  const shown = Boolean(desk.card);
  desk.find(".wait").hidden = shown || over;
  desk.find(".panel").classList.toggle("dim", !card);
  for (const name of ["crop", "whole"])
    desk.find(`[data-do="${name}"]`).setAttribute("aria-pressed", String(desk.picture.look === name));
  const notice = desk.find(".notice");
  notice.textContent = desk.answer.notice || "";
  if (!card) {
    desk.find("canvas").setAttribute("aria-label", "");
    return;
  }
  desk.find(".name").textContent = card.name;
  desk.find(".swatch").style.background = card.colour;
  desk.find(".which").textContent = `mask ${card.id} · ${card.photo}`;
  desk.find(".which").title = card.photo;
  desk.find(".reason").textContent = card.reason;
  const verdict = desk.find(".verdict");
  Object.assign(verdict, {
    textContent: card.verdict.text ? `Filter: ${card.verdict.text}` : "No filter ran yet",
    title: card.verdict.help,
  });
  verdict.className = `verdict ${card.verdict.text ? (card.verdict.kept ? "kept" : "dropped") : ""}`;
  drawSaid(desk, desk.said.get(card.id));
  desk.find(".facts").replaceChildren(...card.facts.map(fact));
  const more = made("button");
  more.append(made("kbd", "", "0"), made("span", "", "another …"));
  more.onclick = () => desk.act("list");
  desk.find(".keys").replaceChildren(...card.keys.map((choice, place) => keyButton(desk, choice, place)), more);
  const version = desk.picture.other && card.other ? card.other_is : card.mask_is;
  desk.find(".version").textContent = card.problem || version;
  desk.find('[data-do="other"]').disabled = !card.other;
  desk.find('[data-do="other"]').setAttribute("aria-pressed", String(desk.picture.other));
  desk
    .find("canvas")
    .setAttribute("aria-label", `${card.name}, mask ${card.id} of photo ${card.photo}. ${card.reason}`);
}

function drawSaid(desk, said) {
  const line = desk.find(".said");
  line.className = `said ${said?.sign || ""}`;
  line.title = said?.text || "";
  line.textContent = said?.text ? `${SIGNS[said.sign]} ${said.text}` : "";
}

function fact({ label, value, share, help }) {
  const box = made("div", "fact");
  box.title = help;
  const line = made("span");
  line.append(made("span", "", label), made("b", "", value));
  const track = made("i"),
    filled = made("u");
  filled.style.width = `${100 * share}%`;
  track.append(filled);
  box.append(line, track);
  return box;
}

function keyButton(desk, choice, place) {
  const button = made("button", "");
  button.type = "button";
  button.title = `Move it to ${choice.name}`;
  button.append(
    made("kbd", "", String(place + 1)),
    example(desk.list.find(choice.cluster), choice.colour),
    made("span", "", choice.name),
  );
  button.onclick = () => desk.decide("relabel", choice.cluster);
  return button;
}

// A mask of the cluster, framed in its colour: numbers alone say little.
function example(cluster, colour) {
  const frame = made("i", "swatch");
  frame.style.background = frame.style.borderColor = colour;
  if (!cluster?.example) return frame;
  const image = made("img");
  image.src = cluster.example;
  image.alt = "";
  frame.className = "example";
  frame.append(image);
  return frame;
}

function drawStrip(desk) {
  const strip = desk.find(".strip");
  const room = Math.max(5, Math.floor(strip.clientWidth / 62));
  const after = desk.ahead.filter((id) => !desk.trail.includes(id));
  const before = Math.min(
    desk.cursor,
    Math.max(Math.floor(room / 2), room - 1 - (desk.trail.length - desk.cursor - 1) - after.length),
  );
  const ids = [...desk.trail.slice(desk.cursor - before), ...after].slice(0, room);
  strip.replaceChildren(...ids.map((id) => tile(desk, id)));
  if (desk.tiles.size > 300) desk.tiles.clear();
}

function tile(desk, id) {
  let box = desk.tiles.get(id);
  if (!box) {
    box = made("button", "tile");
    box.type = "button";
    const image = made("img");
    image.alt = `mask ${id}`;
    box.append(image, made("span", "sign"));
    box.onclick = () => {
      const place = desk.trail.indexOf(id);
      if (place < 0) desk.visit(id);
      else desk.go(place);
    };
    desk.tiles.set(id, box);
  }
  const src = desk.thumbs.get(id) || "";
  if (src && box.firstChild.src !== src) box.firstChild.src = src;
  const sign = desk.said.get(id)?.sign || "";
  box.className = `tile ${sign} ${desk.strokes.has(id) ? "pending" : ""}`;
  box.lastChild.textContent = SIGNS[sign];
  box.title = desk.said.get(id)?.text || `mask ${id}`;
  box.setAttribute("aria-current", String(id === desk.at));
  return box;
}

// All clusters to choose from, for masks that belong to none of the nine.
class ClusterList {
  constructor(dialog, choose) {
    Object.assign(this, { dialog, choose, clusters: [] });
    this.field = dialog.querySelector("input");
    this.field.oninput = () => this.draw();
    this.field.onkeydown = (event) => {
      if (event.key === "Enter") {
        event.preventDefault();
        dialog.querySelector(".rows button")?.click();
      }
    };
  }

  find(cluster) {
    return this.clusters.find((item) => item.cluster === cluster);
  }

  open() {
    this.field.value = "";
    this.draw();
    this.dialog.showModal();
    this.field.focus();
  }

  draw() {
    const wanted = this.field.value.trim().toLowerCase();
    const found = this.clusters.filter((item) => item.name.toLowerCase().includes(wanted));
    this.dialog.querySelector(".rows").replaceChildren(...found.map((item) => this.row(item)));
  }

  row({ cluster, name, colour, size, example: sample }) {
    const button = made("button");
    button.type = "button";
    button.append(
      example({ example: sample }, colour),
      made("span", "", name),
      made("small", "", `${size.toLocaleString("en")} masks`),
    );
    button.onclick = () => {
      this.dialog.close();
      this.choose(cluster);
    };
    return button;
  }
}

function made(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.textContent = text;
  return element;
}
