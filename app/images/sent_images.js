// Pictures that this browser was sent, by name: every message brings those that are new and names the others.
const PICTURES = (globalThis.maskdistillPictures ??= new Map());
const MOST_PICTURES = 48_000_000; // characters, twice what the server remembers to have sent

function takePictures(fresh, named) {
  for (const [name, picture] of Object.entries(fresh)) PICTURES.set(name, picture);
  for (const name of named) {
    const picture = PICTURES.get(name);
    if (picture !== undefined) {
      PICTURES.delete(name);
      PICTURES.set(name, picture);
    } // the latest used come last
  }
  let total = 0;
  for (const picture of PICTURES.values()) total += picture.length;
  for (const [name, picture] of PICTURES) {
    if (total <= MOST_PICTURES) break;
    if (!named.includes(name)) {
      PICTURES.delete(name);
      total -= picture.length;
    }
  }
}

// A message that a newer one overtook never came: what it would have brought is asked for again, a few times at most.
class Lacking {
  constructor() {
    this.asked = new Map();
  }

  check(named, ask, redraw) {
    clearTimeout(this.timer);
    const lacks = () => named.filter((name) => name && !PICTURES.has(name) && (this.asked.get(name) || 0) < 3);
    if (!lacks().length) return;
    this.timer = setTimeout(() => {
      const names = lacks();
      if (!names.length) {
        redraw();
        return;
      } // another component of the page was sent them meanwhile
      for (const name of names) this.asked.set(name, (this.asked.get(name) || 0) + 1);
      ask(names);
    }, 150);
  }
}
