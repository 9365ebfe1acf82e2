// What stands around the picture: progress, facts of the mask, the clusters under the keys, the thumbnails.
const TILE = 62; // CSS pixels from one thumbnail to the next
const MOST_TILES = 300;

function drawProgress({ answer: { progress }, actions, find }) {
  const waiting = actions.pending.length;
  find(".count").textContent = `${number(progress.done)} of ${number(progress.total)} done`;
  find(".pace").textContent = [progress.pace, progress.left].filter(Boolean).join(" · ");
  for (const name of ["accepted", "rejected", "relabelled", "skipped"]) {
    find(`.tally .${name} b`).textContent = number(progress[name]);
    const part = find(`.track .${name}`);
    if (part) part.style.width = `${(100 * progress[name]) / Math.max(progress.total, 1)}%`;
  }
  const saved = find(".saved");
  saved.textContent = waiting ? `saving ${waiting}` : "saved";
  saved.classList.toggle("waiting", waiting > 0);
}

function number(value) {
  return value.toLocaleString("en");
}

function drawPanel(annotator) {
  const { answer, picture, find } = annotator;
  const card = annotator.at === null ? null : picture.card(annotator.at);
  const finished = annotator.at === null && annotator.actions.upToDate ? answer.finished : null;
  drawFinished(find, finished);
  find(".wait").hidden = Boolean(annotator.card || finished);
  find(".panel").classList.toggle("dim", !card);
  for (const name of ["crop", "whole"]) setPressed(find(`[data-do="${name}"]`), picture.zoom === name);
  find(".notice").textContent = [answer.notice, annotator.actions.note].filter(Boolean).join(" ");
  if (card) drawCard(annotator, card);
  else find("canvas").setAttribute("aria-label", "");
}

// What is shown when no mask is left.
function drawFinished(find, finished) {
  find(".annotator").classList.toggle("finished", Boolean(finished));
  find(".end-title").textContent = finished?.title || "";
  find(".end-next").replaceChildren(...(finished?.lines || []).map((line) => build("li", {}, line)));
  find(".tick").hidden = Boolean(finished?.empty);
}

function drawCard(annotator, card) {
  const { picture, find } = annotator;
  find(".name").textContent = card.name;
  find(".swatch").style.background = card.color;
  Object.assign(find(".mask-id"), { textContent: `mask ${card.id} · ${card.photo}`, title: card.photo });
  find(".reason").textContent = card.reason;
  const { text, kept, help } = card.verdict;
  Object.assign(find(".verdict"), {
    textContent: text ? `Filter: ${text}` : "No filter ran yet",
    title: help,
    className: `verdict ${text ? (kept ? "kept" : "dropped") : ""}`,
  });
  const label = annotator.labels.get(card.id);
  Object.assign(find(".label"), {
    textContent: label?.text ? `${SIGNS[label.sign]} ${label.text}` : "",
    title: label?.text || "",
    className: `label ${label?.sign || ""}`,
  });
  find(".facts").replaceChildren(...card.facts.map(fact));
  find(".keys").replaceChildren(
    ...card.keys.map((choice, place) => keyButton(annotator, choice, place + 1)),
    more(annotator),
  );
  find(".version").textContent = card.problem || (picture.other && card.other ? card.other_is : card.mask_is);
  const other = find('[data-do="other"]');
  other.disabled = !card.other;
  setPressed(other, picture.other);
  find("canvas").setAttribute("aria-label", `${card.name}, mask ${card.id} of photo ${card.photo}. ${card.reason}`);
}

function setPressed(button, pressed) {
  button.setAttribute("aria-pressed", String(pressed));
}

function fact({ label, value, share, help }) {
  const line = build("span", {}, build("span", {}, label), build("b", {}, value));
  const bar = build("i", {}, build("u", { style: `width: ${100 * share}%` }));
  return build("div", { className: "fact", title: help }, line, bar);
}

function keyButton(annotator, choice, place) {
  const sample = example(annotator.list.find(choice.cluster)?.example, choice.color);
  const properties = { type: "button", title: `Move it to ${choice.name}`, onclick: () => annotator.relabel(choice) };
  return build("button", properties, build("kbd", {}, place), sample, build("span", {}, choice.name));
}

function more(annotator) {
  const properties = { type: "button", onclick: () => annotator.act("clusters") };
  return build("button", properties, build("kbd", {}, 0), build("span", {}, "another …"));
}

// A mask of the cluster, framed in its color: numbers alone say little.
function example(src, color) {
  const style = `background: ${color}; border-color: ${color}`;
  return src
    ? build("i", { className: "example", style }, build("img", { src, alt: "" }))
    : build("i", { className: "swatch", style });
}

function build(tag, properties, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function drawThumbnails(annotator) {
  const strip = annotator.find(".thumbnails");
  const ids = thumbnailIds(annotator, Math.max(5, Math.floor(strip.clientWidth / TILE)));
  strip.replaceChildren(...ids.map((id) => tile(annotator, id)));
  if (annotator.tiles.size > MOST_TILES) annotator.tiles.clear();
}

// The masks around the one on show, as many as there is room for: half of them before it, more where none come after.
function thumbnailIds({ history, cursor, upcoming }, room) {
  const after = upcoming.filter((id) => !history.includes(id));
  const numAfter = history.length - cursor - 1 + after.length;
  const numBefore = Math.min(cursor, Math.max(Math.floor(room / 2), room - 1 - numAfter));
  return [...history.slice(cursor - numBefore), ...after].slice(0, room);
}

function tile(annotator, id) {
  const { tiles, thumbnails, labels, actions } = annotator;
  if (!tiles.has(id)) tiles.set(id, newTile(annotator, id));
  const box = tiles.get(id);
  const src = thumbnails.get(id) || "";
  if (src && box.firstChild.src !== src) box.firstChild.src = src;
  const { sign = "", text = "" } = labels.get(id) || {};
  box.className = `tile ${sign} ${actions.has(id) ? "pending" : ""}`;
  box.lastChild.textContent = SIGNS[sign];
  box.title = text || `mask ${id}`;
  box.setAttribute("aria-current", String(id === annotator.at));
  return box;
}

function newTile(annotator, id) {
  const onclick = () => {
    const place = annotator.history.indexOf(id);
    if (place < 0) annotator.visit(id);
    else annotator.go(place);
  };
  const image = build("img", { alt: `mask ${id}` });
  return build("button", { type: "button", onclick }, image, build("span", { className: "sign" }));
}

// All clusters to choose from, for masks that belong to none of the nine.
class ClusterList {
  constructor(dialog, choose) {
    Object.assign(this, { dialog, choose, clusters: [] });
    this.field = dialog.querySelector("input");
    this.field.oninput = () => this.draw();
    this.field.onkeydown = (event) => {
      if (event.key !== "Enter") return;
      event.preventDefault();
      dialog.querySelector(".rows button")?.click();
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
    const rows = this.clusters.filter((item) => item.name.toLowerCase().includes(wanted));
    this.dialog.querySelector(".rows").replaceChildren(...rows.map((item) => this.row(item)));
  }

  row({ cluster, name, color, size, example: src }) {
    const onclick = () => {
      this.dialog.close();
      this.choose(cluster);
    };
    const texts = [build("span", {}, name), build("small", {}, `${number(size)} masks`)];
    return build("button", { type: "button", onclick }, example(src, color), ...texts);
  }
}
