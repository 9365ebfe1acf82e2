// Counts as bars; a click, Enter or Space chooses one, arrow keys go to the next.
function bar(item, chosen, choose) {
  const row = element("button", "row");
  row.type = "button";
  row.dataset.id = item.id;
  row.setAttribute("role", "option");
  row.setAttribute("aria-selected", String(item.id === chosen));
  row.title = [item.help, item.warning].filter(Boolean).join(" ");
  const name = element("span", "name", item.label),
    count = element("span", "count");
  if (item.warning) {
    const sign = element("span", "sign", "▲");
    sign.setAttribute("aria-label", item.warning);
    count.append(sign);
  }
  count.append(item.count_text);
  const track = element("span", "track"),
    filled = element("i", item.fill);
  filled.style.width = `${item.total ? (100 * item.count) / item.total : 0}%`;
  if (item.color) filled.style.background = item.color;
  track.append(filled);
  row.append(name, count, track);
  if (item.help) row.append(element("span", "help", item.help));
  row.onclick = () => choose(item.id);
  return row;
}

function goOn(event, box) {
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const rows = [...box.children];
  rows[rows.indexOf(event.target.closest(".row")) + step]?.focus();
}

export default mount((root) => ({
  update(data, send) {
    const box = root.querySelector(".bars");
    const focused = root.activeElement?.dataset?.id;
    box.setAttribute("aria-label", data.label);
    box.classList.toggle("narrow", data.narrow);
    box.replaceChildren(...data.items.map((item) => bar(item, data.chosen, (id) => send("clicked", id))));
    box.onkeydown = (event) => goOn(event, box);
    if (focused !== undefined)
      [...box.children].find((row) => row.dataset.id === focused)?.focus({ preventScroll: true });
  },
}));
