// Photos in columns: the photo, the target, and the prediction of the epoch that the slider is at. All epochs are here,
// so that moving it and playing need no server. A slider at its end stays there as epochs come in.
const STEP = 420; // milliseconds an epoch
function tile(name, src, layer) {
  const box = document.createElement("div");
  box.className = "tile";
  if (src) {
    const photo = document.createElement("img");
    Object.assign(photo, { src, alt: "", className: layer === null ? "" : "grey" });
    box.append(photo);
  }
  if (layer !== null) {
    const image = document.createElement("img");
    Object.assign(image, { className: "layer", alt: name });
    if (layer) image.src = layer;
    box.append(image);
  }
  const label = document.createElement("span");
  label.textContent = name;
  box.append(label);
  return box;
}

function column(photo) {
  const figure = document.createElement("figure");
  figure.title = photo.name;
  figure.append(
    tile("Photo", photo.src, null),
    tile("Target", photo.src, photo.target),
    tile("Prediction", photo.src, ""),
  );
  return figure;
}

function describe(epoch, total) {
  const place = epoch.number === 0 ? "before the training" : `after epoch ${epoch.number} of ${total}`;
  return epoch.agreement == null ? place : `${place} · agreement ${epoch.agreement.toFixed(2)}`;
}

export default mount((root) => ({
  state: { shown: -1, atEnd: true, timer: null, photos: "" },

  update(data) {
    const [slider, play, when, photos] = [".epoch", ".play", ".when", ".photos"].map((name) =>
      root.querySelector(name),
    );
    const last = data.epochs.length - 1;
    const { state } = this;

    const shape = JSON.stringify(data.photos.map((photo) => [photo.name, photo.target.length]));
    if (state.photos !== shape) {
      state.photos = shape;
      photos.style.setProperty("--count", data.photos.length);
      photos.replaceChildren(...data.photos.map(column));
    }
    const layers = [...photos.children].map((figure) => figure.lastChild.querySelector(".layer"));
    const show = (place) => {
      state.shown = place;
      state.atEnd = place === last;
      slider.value = place;
      layers.forEach((image, number) => {
        image.src = data.frames[place][number] || "";
      });
      when.textContent = describe(data.epochs[place], data.total);
      slider.setAttribute("aria-valuetext", when.textContent);
    };
    const stop = () => {
      clearInterval(state.timer);
      state.timer = null;
      play.textContent = "Play";
    };
    const start = () => {
      if (state.shown >= last) show(0);
      play.textContent = "Pause";
      state.timer = setInterval(() => (state.shown < last ? show(state.shown + 1) : stop()), STEP);
    };
    const playing = state.timer !== null;
    stop();
    slider.max = last;
    slider.disabled = play.disabled = last < 1;
    slider.oninput = () => {
      stop();
      show(Number(slider.value));
    };
    play.onclick = () => (state.timer === null ? start() : stop());
    if (last >= 0) show(state.atEnd && !playing ? last : Math.min(Math.max(state.shown, 0), last));
    if (playing) start();
  },

  destroy() {
    clearInterval(this.state.timer);
  },
}));
