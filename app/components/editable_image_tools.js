// The panel beside the picture: tools, what the one at hand does, how far the mask is, other shapes to take.
const SIZES = ["small", "medium", "large"]; // of the brush
const HINTS = {
  click: "Click beside the mask to add what is like it there, inside to take it away. Shift: everywhere.",
  brush: "Draw to add pixels. B again: another size.",
  eraser: "Draw to take pixels away. X again: another size.",
  split: "Click on each of the two objects.",
  join: "Click on the other mask.",
  new: "Click on an object.",
  keep: "Click on the part that stays.",
  erase: "Click on the part that goes.",
};

// image: an EditableImage.
function drawTools(image) {
  const { edit, steps, tool, keeping, find } = image;
  for (const button of image.host.querySelectorAll(".mend [data-do]")) {
    const name = button.dataset.do;
    const pressed = name === "everywhere" ? image.everywhere : name === tool;
    if (HINTS[name] || name === "everywhere") button.setAttribute("aria-pressed", String(pressed));
  }
  for (const name of ["undo", "keepmask"]) find(`[data-do="${name}"]`).disabled = !steps.length || Boolean(keeping);
  for (const name of ["split", "join"]) find(`[data-do="${name}"]`).disabled = edit.fresh;
  find('[data-do="zoom"]').hidden = !image.data?.views[0].box;
  Object.assign(find('[data-do="sharpen"]'), { hidden: !edit.sharpens, disabled: !canSharpen(image) });
  find('[data-do="next"]').hidden = edit.after < 0;
  find(".brush-size").textContent = image.isBrush ? `Size: ${SIZES[image.brush]}` : "";
  find(".mend .hint").textContent = hintOf(image);
  const problem = image.said || edit.problem;
  find(".said").textContent = problem ? `${problem} ${stateOf(image)}` : `${stateOf(image)} ${restoredOf(image)}`;
  find(".said").classList.toggle("problem", Boolean(problem));
  image.frame.dataset.tool = tool;
  drawChoices(image);
}

// The CRF looks at what clicks changed.
function canSharpen({ edit, steps }) {
  return edit.sharpens && steps.at(-1)?.do === "click";
}

function hintOf({ tool, edit, steps, first }) {
  if (first) return "And on the other one.";
  return tool === "click" && edit.fresh && !steps.length ? HINTS.new : HINTS[tool];
}

function stateOf({ keeping, steps }) {
  if (keeping) return "Saving …";
  return steps.length ? `${steps.length} step${steps.length === 1 ? "" : "s"}, not kept yet.` : "";
}

function restoredOf({ restored, steps }) {
  return restored && steps.length ? "What you had not kept is here again." : "";
}

function drawChoices(image) {
  const { choices } = image.edit;
  image.when("choices", choices, () => {
    const buttons = choices.map(({ src, name }, number) => {
      const picture = Object.assign(element("img"), { src: PICTURES.get(src) ?? "", alt: "" });
      const words = element("span", "", element("kbd", "", String(number + 1)), ` ${name}`);
      const button = element("button", "choice", picture, words);
      return Object.assign(button, { type: "button", onclick: () => image.take(number) });
    });
    image.find(".choices").replaceChildren(...buttons);
    image.find(".choices-head").hidden = !buttons.length;
  });
}
