// Clusterings side by side: what became of each cluster.
const lackings = new WeakMap();

function make(tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

function crop([mask, picture], open) {
  const button = make("button"), image = make("img");
  Object.assign(button, { type: "button", title: `Mask ${mask}: click to open it`, onclick: () => open(mask) });
  Object.assign(image, { src: PICTURES.get(picture) ?? "", alt: `Mask ${mask}` });
  button.append(image);
  return button;
}

function cluster(item, open) {
  const box = make("div", item.strong ? "cluster" : "cluster weak"), words = make("div", "words");
  const swatch = make("i");
  swatch.style.background = item.colour;
  words.append(...(item.colour ? [swatch] : []), make("b", "", item.title), make("small", "", item.note));
  const crops = make("div", "crops");
  crops.append(...item.crops.map((each) => crop(each, open)));
  box.append(words, crops);
  return box;
}

export default function ({ data, parentElement, setTriggerValue }) {
  const named = data.rows.flat(2).flatMap((item) => item.crops.map(([, name]) => name));
  takePictures(data.pictures, named);
  const open = (mask) => setTriggerValue("open", mask);
  const draw = () => {
    const head = make("thead"), top = make("tr"), body = make("tbody");
    top.append(...data.heads.map((text) => make("th", "", text)));
    head.append(top);
    body.append(...data.rows.map((columns) => {
      const line = make("tr");
      line.append(...columns.map((items) => {
        const cell = make("td");
        cell.append(...(items.length ? items.map((item) => cluster(item, open)) : [make("span", "none", "–")]));
        return cell;
      }));
      return line;
    }));
    parentElement.querySelector("table").replaceChildren(head, body);
  };
  draw();
  if (!lackings.has(parentElement)) lackings.set(parentElement, new Lacking());
  lackings.get(parentElement).check(named, (names) => setTriggerValue("missing", names), draw);
}
