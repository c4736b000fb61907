
"use strict";
const FRAME_MS = 250, RELOAD_MS = 15000;
const byId = (id) => document.getElementById(id);

/* The slider over the grids. The last grid is in the page without a script; the others are shown by this. */
function setUpGrids() {
  const grids = JSON.parse(byId("grids-data").textContent);
  if (grids.length < 2) return;
  const last = grids.length - 1, picture = byId("grid"), slider = byId("slider"), play = byId("play");
  grids[last].address = picture.src;
  let at = last, timer = 0;

  function show(place) {
    at = Math.min(Math.max(place, 0), last);
    slider.value = at;
    slider.setAttribute("aria-valuetext", grids[at].words);
    byId("grid-words").textContent = grids[at].words;
    picture.src = grids[at].address;
  }

  function pause() {
    clearInterval(timer);
    timer = 0;
    play.textContent = "Play";
  }

  function advance() {
    show(at + 1);
    if (at === last) pause();
  }

  function toggle() {
    if (timer) return pause();
    if (at === last) show(0);
    timer = setInterval(advance, FRAME_MS);
    play.textContent = "Pause";
  }

  function press(event) {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const place = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last }[event.key];
    if (place === undefined) return;
    event.preventDefault();
    pause();
    show(place);
  }

  play.addEventListener("click", toggle);
  slider.addEventListener("input", () => {
    pause();
    show(Number(slider.value));
  });
  addEventListener("keydown", press);
  byId("controls").hidden = false;
  show(last);
}

/* The legend tells the values under the pointer, as the drawn lines have them. */
function setUpChart(figure) {
  const svg = figure.querySelector("svg"), cursor = svg.querySelector(".cursor"), where = figure.querySelector(".at");
  const outputs = [...figure.querySelectorAll("output")], lastValues = outputs.map((output) => output.textContent);
  const lines = [...svg.querySelectorAll("polyline")].map((line) => [...line.points]);
  const [x, y] = [svg.dataset.x, svg.dataset.y].map((range) => range.split(" ").map(Number));
  const valueAt = (pixel, [low, high, first, last]) => low + ((pixel - first) / (last - first)) * (high - low);
  const nearest = (points, pixel) =>
    points.reduce((best, point) => (Math.abs(point.x - pixel) < Math.abs(best.x - pixel) ? point : best));

  function read(event) {
    const box = svg.getBoundingClientRect();
    const pixel = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const found = lines.map((points) => nearest(points, pixel));
    outputs.forEach((output, place) => {
      output.textContent = String(Number(valueAt(found[place].y, y).toPrecision(4)));
    });
    cursor.setAttribute("x1", found[0].x);
    cursor.setAttribute("x2", found[0].x);
    where.textContent = `, step ${Math.round(valueAt(found[0].x, x)).toLocaleString("en")}`;
    svg.classList.add("reading");
  }

  function leave() {
    outputs.forEach((output, place) => { output.textContent = lastValues[place]; });
    where.textContent = "";
    svg.classList.remove("reading");
  }

  svg.addEventListener("pointermove", read);
  svg.addEventListener("pointerdown", read);
  svg.addEventListener("pointerleave", leave);
}

/* While the run goes on, the page can follow it. The address remembers the wish over a reload. */
function setUpFollowing() {
  const box = byId("follow");
  if (!box) return;
  let timer = 0;

  function apply() {
    clearTimeout(timer);
    if (box.checked) timer = setTimeout(() => location.reload(), RELOAD_MS);
  }

  box.checked = location.hash === "#follow";
  box.addEventListener("change", () => {
    history.replaceState(null, "", box.checked ? "#follow" : "#");
    apply();
  });
  byId("follow-words").hidden = false;
  byId("written").textContent = `written ${new Date(document.lastModified).toLocaleString()}`;
  apply();
}

setUpGrids();
document.querySelectorAll("figure:has(svg)").forEach(setUpChart);
setUpFollowing();
