// Clusters in rows: name, the class it stands for and its IoU, and crops that open the mask.
function words(row, calls, canAsk) {
  const box = element("div", "words");
  const swatch = element("i");
  swatch.style.background = row.colour;
  const name = element("b", "", row.name);
  name.title = row.name;
  const head = element("span", "head");
  head.append(swatch, name);
  if (row.matched) {
    const matched = element(
      "span",
      row.iou === null ? "matched none" : "matched",
      row.iou === null ? row.matched : `→ ${row.matched}`,
    );
    matched.title = row.matched;
    head.append(matched);
  }
  const foot = element("span", "foot");
  if (row.iou !== null) {
    const bar = element("span", "iou"),
      fill = element("b");
    fill.style.width = `${100 * row.iou}%`;
    bar.append(fill);
    bar.title = "IoU of the class";
    foot.append(bar, element("span", "value", `IoU ${(100 * row.iou).toFixed(0)} %`));
  }
  foot.append(element("span", "note", row.note));
  if (canAsk) {
    const ask = element("button", "ask", "Photos");
    ask.title = `Photos that hold ${row.name}`;
    ask.onclick = () => calls.photos(row.cluster);
    foot.append(ask);
  }
  box.append(head, foot);
  return box;
}

function crops(row, calls) {
  const box = element("div", "crops");
  for (const [mask, picture] of row.crops) {
    const button = element("button", "crop");
    button.title = `Mask ${mask} of ${row.name}: open it`;
    button.setAttribute("aria-label", button.title);
    const source = PICTURES.get(picture);
    if (source) {
      const image = element("img");
      Object.assign(image, { src: source, alt: "", loading: "lazy" });
      button.append(image);
    }
    button.onclick = () => calls.open(mask);
    box.append(button);
  }
  return box;
}

function draw(box, data, calls) {
  box.replaceChildren(
    ...data.rows.map((row) => {
      const line = element("div", "row");
      line.setAttribute("role", "listitem");
      line.append(words(row, calls, data.canAsk), crops(row, calls));
      return line;
    }),
  );
}

export default mount((root) => ({
  lacking: new Lacking(),

  update(data, send) {
    const box = root.querySelector(".rows");
    const named = data.rows.flatMap((row) => row.crops.map(([, picture]) => picture)).filter(Boolean);
    const calls = { open: (mask) => send("open", mask), photos: (cluster) => send("photos", cluster) };
    takePictures(data.pictures, named);
    this.lacking.check(
      named,
      (names) => send("missing", names),
      () => draw(box, data, calls),
    );
    draw(box, data, calls);
  },
}));
