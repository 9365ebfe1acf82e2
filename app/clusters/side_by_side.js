// Clusterings side by side: what became of each cluster.
function crop([mask, picture], open) {
  const button = element("button"),
    image = element("img");
  Object.assign(button, { type: "button", title: `Mask ${mask}: click to open it`, onclick: () => open(mask) });
  Object.assign(image, { src: PICTURES.get(picture) ?? "", alt: `Mask ${mask}` });
  button.append(image);
  return button;
}

function cluster(item, open) {
  const box = element("div", item.strong ? "cluster" : "cluster weak"),
    words = element("div", "words");
  const swatch = element("i");
  swatch.style.background = item.colour;
  words.append(...(item.colour ? [swatch] : []), element("b", "", item.title), element("small", "", item.note));
  const crops = element("div", "crops");
  crops.append(...item.crops.map((each) => crop(each, open)));
  box.append(words, crops);
  return box;
}

export default mount((root) => ({
  lacking: new Lacking(),

  update(data, send) {
    const named = data.rows.flat(2).flatMap((item) => item.crops.map(([, name]) => name));
    takePictures(data.pictures, named);
    const open = (mask) => send("open", mask);
    const draw = () => {
      const head = element("thead"),
        top = element("tr"),
        body = element("tbody");
      top.append(...data.heads.map((text) => element("th", "", text)));
      head.append(top);
      body.append(
        ...data.rows.map((columns) => {
          const line = element("tr");
          line.append(
            ...columns.map((items) => {
              const cell = element("td");
              cell.append(
                ...(items.length ? items.map((item) => cluster(item, open)) : [element("span", "none", "–")]),
              );
              return cell;
            }),
          );
          return line;
        }),
      );
      root.querySelector("table").replaceChildren(head, body);
    };
    draw();
    this.lacking.check(named, (names) => send("missing", names), draw);
  },
}));
