
/* A view's pixel at x from the centre shows the picture at zoom * x + shift, shifts in 32nds of the side;
   "mirror" then swaps left and right. An unknown name moves nothing. (Names: dcgan_data/ops/views.py.) */
function viewTransform(view) {
  const parts = /^(mirror)?(?: ?zoom ([\d.]+)x([\d.]+))?(?: ?shift ([+-][\d.]+)([+-][\d.]+))?$/.exec(view);
  if (!parts) return "";
  const [mirror, zoomX, zoomY] = [parts[1] ? -1 : 1, Number(parts[2] || 1), Number(parts[3] || 1)];
  const [moveX, moveY] = [parts[4], parts[5]].map((shift) => (Number(shift || 0) / -32) * 100);
  return `scale(${mirror / zoomX}, ${1 / zoomY}) translate(${moveX}%, ${moveY}%)`;
}

/* Judging goes in one order without gaps, so the whole state is one letter a verdict: "s" or "d". */
function setUpAudit() {
  const data = readData("audit-data");
  const pairs = data.pairs;
  const slot = "dcgan_data verdicts " + data.content_sha256 + " " + data.seed;
  let letters = load();
  let overlay = "";

  function load() {
    try {
      const stored = localStorage.getItem(slot) || "";
      return /^[sd]*$/.test(stored) ? stored.slice(0, pairs.length) : "";
    } catch {
      byId("storage-note").hidden = false;
      return "";
    }
  }

  function store() {
    try {
      localStorage.setItem(slot, letters);
    } catch {
      byId("storage-note").hidden = false;
    }
  }

  function showKey(id, key, size) {
    byId(id).textContent = key + (size ? " (" + size + ")" : "");
    byId(id).title = key;
  }

  /* Laid over each other, one image is shown through the view: the removed one, unless the view's name says
     "kept: ". Side by side both are as they are. */
  function align(pair) {
    const [, keptIsSeen, name] = /^(kept: )?(.*)$/.exec(pair.view || "");
    const transform = overlay ? viewTransform(name) : "";
    byId("removed-image").style.transform = keptIsSeen ? "" : transform;
    byId("kept-image").style.transform = keptIsSeen ? transform : "";
  }

  function showPair(pair) {
    byId("kept-image").src = picture(data.pictures[pair.kept]);
    byId("removed-image").src = picture(data.pictures[pair.removed]);
    align(pair);
    showKey("kept-key", pair.duplicate_of, sourceSize(pair.kept_source));
    showKey("removed-key", pair.key, sourceSize(pair.removed_source));
    byId("facts").replaceChildren(
      ...[...pairFacts(pair), "stratum: " + pair.stratum].map((fact) => element("span", "", fact))
    );
  }

  function draw() {
    const judged = letters.length;
    const wrong = letters.replaceAll("s", "").length;
    const done = judged === pairs.length;
    byId("audit-progress").textContent = judged + " of " + pairs.length;
    byId("audit-bar").max = Math.max(pairs.length, 1);
    byId("audit-bar").value = judged;
    byId("audit-counts").textContent = judged - wrong + " same, " + wrong + " different";
    byId("pair").hidden = done;
    byId("done").hidden = !done;
    byId("undo").disabled = byId("undo-last").disabled = judged === 0;
    if (!done) return showPair(pairs[judged]);
    byId("done-title").textContent = pairs.length ? "All judged" : "Nothing was removed";
    byId("done-text").textContent = wrong + " of " + judged + " judged to be different.";
  }

  function setOverlay(mode) {
    overlay = overlay === mode ? "" : mode;
    for (const name of ["blink", "difference"]) {
      byId("stage").classList.toggle(name, overlay === name);
      byId(name).setAttribute("aria-pressed", String(overlay === name));
    }
    if (letters.length < pairs.length) align(pairs[letters.length]);
  }

  function judge(letter) {
    if (letters.length === pairs.length) return;
    letters += letter;
    store();
    draw();
  }

  function undo() {
    letters = letters.slice(0, -1);
    store();
    draw();
  }

  function download() {
    const verdicts = [...letters].map((letter, place) => {
      const { key, part, duplicate_of, score, stratum } = pairs[place];
      return { key, part, duplicate_of, score, stratum, verdict: letter === "s" ? "same" : "different" };
    });
    const { content_sha256, seed } = data;
    const file = { format: "dcgan_data verdicts", version: 1, content_sha256, seed, verdicts };
    const link = element("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], { type: "application/json" }));
    link.download = "verdicts.json";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  }

  const actions = {
    y: () => judge("s"),
    n: () => judge("d"),
    u: undo,
    b: () => setOverlay("blink"),
    " ": () => setOverlay("blink"),
    d: () => setOverlay("difference"),
  };

  function press(event) {
    /* A key held down must not judge a hundred pairs; a space on a button is a press of that button. */
    if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " " && event.target.closest("button, a")) return;
    const action = actions[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    action();
  }

  const buttons = { same: "y", different: "n", undo: "u", "undo-last": "u", blink: "b", difference: "d" };
  for (const [id, key] of Object.entries(buttons)) byId(id).addEventListener("click", actions[key]);
  byId("download").addEventListener("click", download);
  draw();
  return press;
}
