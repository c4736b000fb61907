
"use strict";
const DRAG_PX = 4;
const byId = (id) => document.getElementById(id);

/* Every text that comes from the data goes through textContent, never through HTML. */
function element(tag, kind, text) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

const count = (number, word, words) => number + " " + (number === 1 ? word : words);

/* What is drawn, and how it was before, step by step. Every list is replaced, never changed. */
function setUpBoxes(data) {
  const slot = "dcgan_data boxes " + data.model + " " + data.seed;
  const past = [];
  let boxes = load();

  function isBox(box) {
    const numbers = [box.sample, box.x, box.y, box.width, box.height];
    return numbers.every((number) => Number.isInteger(number) && number >= 0);
  }

  function load() {
    try {
      const stored = JSON.parse(localStorage.getItem(slot) || "[]");
      return Array.isArray(stored) && stored.every(isBox) ? stored : [];
    } catch {
      return [];
    }
  }

  function store() {
    try {
      localStorage.setItem(slot, JSON.stringify(boxes));
      return true;
    } catch {
      return false;
    }
  }

  function replace(changed, sample) {
    past.push({ boxes, sample });
    boxes = changed;
  }

  return {
    store,
    /* A page with more samples may have left boxes that are not for this one. */
    all: () => boxes.filter((box) => box.sample < data.pictures.length),
    of: (sample) => boxes.filter((box) => box.sample === sample),
    add: (box) => replace([...boxes, box], box.sample),
    remove: (doomed) => replace(boxes.filter((box) => box !== doomed), doomed.sample),
    canUndo: () => past.length > 0,
    /* Returns the sample that has changed. */
    undo() {
      const before = past.pop();
      boxes = before.boxes;
      return before.sample;
    },
  };
}

/* A rectangle over a picture, wherever and however large that is shown. */
function outline(box, size) {
  const made = element("div", "outline");
  const places = { left: box.x, top: box.y, width: box.width, height: box.height };
  for (const [side, pixels] of Object.entries(places)) made.style[side] = (100 * pixels) / size + "%";
  return made;
}

function setUpPage() {
  const data = JSON.parse(byId("samples-data").textContent);
  const size = data.image_size, last = data.pictures.length - 1;
  const boxes = setUpBoxes(data), stage = byId("stage"), thumbs = data.pictures.map(thumb);
  let at = 0;
  let drag = null;

  function address(place) {
    return "data:image/png;base64," + data.pictures[place];
  }

  function thumb(_, place) {
    const made = element("button", "thumb");
    const frame = element("span", "frame"), img = element("img");
    made.type = "button";
    img.src = address(place);
    img.alt = "";
    frame.append(img);
    made.append(frame, element("span", "number"));
    made.addEventListener("click", () => show(place));
    return made;
  }

  function drawThumb(place) {
    const own = boxes.of(place);
    const [frame, number] = thumbs[place].children;
    frame.replaceChildren(frame.firstChild, ...own.map((box) => outline(box, size)));
    number.textContent = place + (own.length ? " (" + own.length + ")" : "");
    thumbs[place].setAttribute("aria-label", "sample " + place + ", " + count(own.length, "box", "boxes"));
    thumbs[place].setAttribute("aria-current", String(place === at));
  }

  function listed(box, place) {
    const line = element("li"), button = element("button", "", "remove");
    const words = box.width + " x " + box.height + " pixels at " + box.x + ", " + box.y;
    button.type = "button";
    button.setAttribute("aria-label", "remove box " + (place + 1));
    button.addEventListener("click", () => change(() => boxes.remove(box)));
    line.append(element("span", "", place + 1 + ": " + words), button);
    return line;
  }

  function drawOutlines() {
    const made = boxes.of(at).map((box, place) => {
      const one = outline(box, size);
      one.append(element("b", "", place + 1));
      return one;
    });
    if (drag && drag.box) {
      const fresh = outline(drag.box, size);
      fresh.classList.add("new");
      made.push(fresh);
    }
    byId("outlines").replaceChildren(...made);
  }

  function draw() {
    const own = boxes.of(at), all = boxes.all();
    const on = new Set(all.map((box) => box.sample)).size;
    byId("sample").src = address(at);
    byId("sample").alt = "sample " + at;
    byId("place").textContent = "sample " + at + " of " + last + ": " + count(own.length, "box", "boxes");
    byId("total").textContent = count(all.length, "box", "boxes") + " on " + count(on, "sample", "samples");
    byId("list").replaceChildren(...own.map(listed));
    byId("previous").disabled = at === 0;
    byId("next").disabled = at === last;
    byId("remove").disabled = own.length === 0;
    byId("undo").disabled = !boxes.canUndo();
    byId("download").disabled = all.length === 0;
    drawOutlines();
    drawThumb(at);
  }

  function show(place) {
    const before = at;
    drag = null;
    at = Math.min(Math.max(place, 0), last);
    drawThumb(before);
    draw();
  }

  function change(how) {
    how();
    byId("storage-note").hidden = boxes.store();
    draw();
  }

  function removeLast() {
    const own = boxes.of(at);
    if (own.length) change(() => boxes.remove(own[own.length - 1]));
  }

  function undo() {
    if (!boxes.canUndo()) return;
    change(() => show(boxes.undo()));
  }

  /* Where in the image the pointer is, in pixels; beyond its edge counts as on it. */
  function pixelAt(event) {
    const frame = stage.getBoundingClientRect();
    const within = (share) => Math.min(Math.max(share, 0), 1) * size;
    return [within((event.clientX - frame.x) / frame.width), within((event.clientY - frame.y) / frame.height)];
  }

  /* All pixels that the dragged rectangle touches. */
  function spanned([x1, y1], [x2, y2]) {
    const [x, y] = [Math.min(x1, x2), Math.min(y1, y2)].map((edge) => Math.min(Math.floor(edge), size - 1));
    const [right, bottom] = [Math.max(x1, x2), Math.max(y1, y2)].map(Math.ceil);
    return { sample: at, x, y, width: Math.max(right - x, 1), height: Math.max(bottom - y, 1) };
  }

  function press(event) {
    if (event.button !== 0 || drag) return;
    event.preventDefault();
    stage.setPointerCapture(event.pointerId);
    drag = { pointer: event.pointerId, from: pixelAt(event), x: event.clientX, y: event.clientY, box: null };
  }

  function move(event) {
    if (!drag || event.pointerId !== drag.pointer) return;
    /* A click is no box. */
    const far = Math.hypot(event.clientX - drag.x, event.clientY - drag.y) >= DRAG_PX;
    if (far || drag.box) drag.box = spanned(drag.from, pixelAt(event));
    drawOutlines();
  }

  function release(event) {
    if (!drag || event.pointerId !== drag.pointer) return;
    move(event);
    const { box } = drag;
    drag = null;
    if (box) change(() => boxes.add(box));
  }

  function letGo() {
    drag = null;
    drawOutlines();
  }

  function download() {
    const { model, name, seed, image_size } = data;
    const about = { format: "dcgan_data boxes", version: 1, model, name, seed, samples: last + 1, image_size };
    const text = JSON.stringify({ ...about, boxes: boxes.all() }, null, 1);
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
    link.download = "boxes.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  function smooth() {
    const smoothed = stage.classList.toggle("smooth");
    byId("smooth").setAttribute("aria-pressed", String(smoothed));
  }

  const actions = {
    arrowleft: () => show(at - 1),
    arrowright: () => show(at + 1),
    home: () => show(0),
    end: () => show(last),
    delete: removeLast,
    backspace: removeLast,
    escape: letGo,
    u: undo,
    s: smooth,
  };

  function key(event) {
    const name = event.key.toLowerCase();
    const held = event.ctrlKey || event.metaKey;
    const action = held && name === "z" ? undo : actions[name];
    if (!action || event.altKey || (held && name !== "z")) return;
    event.preventDefault();
    action();
  }

  stage.addEventListener("pointerdown", press);
  stage.addEventListener("pointermove", move);
  stage.addEventListener("pointerup", release);
  stage.addEventListener("pointercancel", letGo);
  addEventListener("keydown", key);
  byId("previous").addEventListener("click", actions.arrowleft);
  byId("next").addEventListener("click", actions.arrowright);
  byId("remove").addEventListener("click", removeLast);
  byId("undo").addEventListener("click", undo);
  byId("smooth").addEventListener("click", smooth);
  byId("download").addEventListener("click", download);
  byId("strip").append(...thumbs);
  byId("storage-note").hidden = boxes.store();
  thumbs.forEach((_, place) => drawThumb(place));
  draw();
}

setUpPage();
