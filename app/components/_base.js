// What all components' scripts begin with: one instance a place, its end, and silence from the moment on that the page is
// being left.

// After a click on the link of another page, a message would still be sent in the name of the page of before, and
// Streamlit would answer by calling that one back: both are gone then, and the browser shows nothing.
const LEAVING = 10_000; // milliseconds that another page may take to come
const SENDING = 50; // milliseconds until Streamlit has sent what it was told: it does so by a timer, not at once
const DOOR = (globalThis.maskdistillDoor ??= watchDoor());

function watchDoor() {
  const door = { page: location.pathname, until: 0, told: Number.NEGATIVE_INFINITY, hold: null };
  document.addEventListener(
    "click",
    (event) => {
      const link = event.composedPath().find((node) => node instanceof HTMLAnchorElement && node.href);
      const elsewhere =
        !link ||
        link.target === "_blank" ||
        link.origin !== location.origin ||
        event.ctrlKey ||
        event.metaKey ||
        event.shiftKey;
      if (elsewhere || link.hasAttribute("download") || link.pathname === door.page) return;
      if (waits(door, () => link.click())) {
        event.preventDefault();
        event.stopPropagation();
      } else leave(door);
    },
    true,
  );
  addEventListener("popstate", () => {
    if (location.pathname === door.page) return;
    leave(door);
    // Streamlit asked for the page at once, before what it was told is sent: it asks for it once more.
    const left = unsent(door);
    const again = () => dispatchEvent(new PopStateEvent("popstate", { state: history.state }));
    if (left > 0) door.timer = setTimeout(again, left);
  });
  joinSteps();
  return door;
}

// Streamlit steps onto a page, and then onto its link: two steps, of which Back undid one. They become one.
function joinSteps() {
  const push = history.pushState.bind(history);
  let isBare = false; // the page has come, its link has not
  history.pushState = (state, title, url) => {
    const isHere = new URL(url ?? "", location.href).pathname === location.pathname;
    if (isHere && isBare) history.replaceState(state, title, url);
    else push(state, title, url);
    isBare = !isHere;
  };
  addEventListener("popstate", () => {
    isBare = false;
  });
}

// Whether a click waits for what is on its way to the server; it is then made again.
function waits(door, click) {
  clearTimeout(door.timer); // the last one counts
  if (door.hold?.(click)) return true;
  const left = unsent(door);
  if (left > 0) door.timer = setTimeout(click, left);
  return left > 0;
}

// Milliseconds until what Streamlit was told is sent; none are left if that is not positive.
function unsent(door) {
  return door.told + SENDING - performance.now();
}

function leave(door) {
  door.until = performance.now() + LEAVING;
}

function isLeaving() {
  return performance.now() < DOOR.until;
}

// A component is made or goes on in another place: the page that was asked for has come.
function arrive() {
  Object.assign(DOOR, { page: location.pathname, until: 0 });
}

// A component's default export. make(root) gives an instance with update(data, trigger, set), which is called whenever
// the server sends data, and destroy() where something must end with it.
function mount(make) {
  const places = new WeakMap();
  return ({ data, parentElement, setTriggerValue, setStateValue }) => {
    if (!places.has(parentElement) || location.pathname !== DOOR.page) arrive();
    if (!places.has(parentElement)) places.set(parentElement, make(parentElement));
    const instance = places.get(parentElement);
    const call = (instance.calls = (instance.calls || 0) + 1);
    const { page } = DOOR;
    const whileHere =
      (tell) =>
      (...message) => {
        if (page !== DOOR.page || isLeaving()) return;
        DOOR.told = performance.now();
        tell(...message);
      };
    instance.update(data, whileHere(setTriggerValue), whileHere(setStateValue));
    return () => {
      if (call !== instance.calls) return; // Streamlit may clean up after an earlier call while a later one is on show
      instance.destroy?.();
      places.delete(parentElement);
    };
  };
}

function element(tag, className = "", ...children) {
  const made = document.createElement(tag);
  made.className = className;
  made.append(...children.map((child) => child ?? ""));
  return made;
}
