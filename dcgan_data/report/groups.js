"use strict";

const byId = (id) => document.getElementById(id);
const readData = (id) => JSON.parse(byId(id).textContent);
const picture = (base64) => "data:image/jpeg;base64," + base64;

/* Every text that comes from the data goes through textContent or title, never through HTML. */
function element(tag, kind, text) {
  const made = document.createElement(tag);
  if (kind) made.className = kind;
  if (text !== undefined) made.textContent = text;
  return made;
}

function pairFacts(pair) {
  const facts = [];
  if (pair.score !== null) facts.push("score " + pair.score.toFixed(3));
  if (pair.view) facts.push(pair.view);
  if (pair.distance !== null) facts.push(pair.distance + (pair.distance === 1 ? " bit" : " bits"));
  return facts;
}

/* The end of a key tells more than its start: it is often a path. */
const tail = (key) => (key.length > 16 ? "\u2026" + key.slice(-15) : key);
const sourceSize = (size) => (size[0] === null ? "" : size[0] + "x" + size[1]);

function setUpGroups() {
  const PER_PAGE = 20;
  const data = readData("groups-data");
  let band = null;
  let page = 0;

  function chosen() {
    return band === null
      ? data.groups
      : data.groups.filter((group) => group.removed.some((image) => image.band === band));
  }

  function note(shown) {
    if (!data.total) return "None.";
    const all = band === null ? data.total : data.groups_in_band[band];
    const which = band === null ? "groups" : "groups with a removal in this score band";
    const some = data.groups.length < data.total
      ? " Not all are in this page: the biggest " + data.biggest + ", and a random choice from every score band."
      : "";
    return "Showing " + shown.toLocaleString("en") + " of " + all.toLocaleString("en") + " " + which + "." + some;
  }

  function figure(image, kind, badge) {
    const made = element("figure", kind);
    const img = element("img");
    img.src = picture(image.jpeg);
    img.alt = "";
    made.append(img, element("b", "badge", badge));
    const caption = element("figcaption", "", "");
    for (const line of kind === "kept" ? [] : pairFacts(image).slice(image.score === null ? 0 : 1)) {
      caption.append(element("span", "", line));
    }
    if (sourceSize(image.source)) caption.append(element("span", "", sourceSize(image.source)));
    const key = element("span", "key", tail(image.key));
    key.title = image.key;
    caption.append(key);
    made.append(caption);
    return made;
  }

  function card(group) {
    const made = element("article", "group");
    made.append(figure(group.kept, "kept", "kept"));
    const list = element("div", "removals");
    for (const image of group.removed) {
      const outside = band !== null && image.band !== band;
      const badge = image.score === null ? "removed" : image.score.toFixed(3);
      list.append(figure(image, outside ? "removed outside" : "removed", badge));
    }
    const more = group.size - 1 - group.removed.length;
    if (more) list.append(element("p", "more", "and " + more.toLocaleString("en") + " more"));
    made.append(list);
    return made;
  }

  function draw() {
    const groups = chosen();
    const pages = Math.max(1, Math.ceil(groups.length / PER_PAGE));
    page = Math.min(Math.max(page, 0), pages - 1);
    const first = page * PER_PAGE;
    const here = groups.slice(first, first + PER_PAGE);
    byId("groups-note").textContent = note(groups.length);
    byId("group-list").replaceChildren(...here.map(card));
    byId("pager").hidden = pages === 1;
    byId("page-note").textContent = here.length
      ? first + 1 + " to " + (first + here.length) + " of " + groups.length
      : "";
    byId("previous").disabled = page === 0;
    byId("next").disabled = page === pages - 1;
    for (const [place, chip] of [...byId("bands").children].entries()) {
      chip.setAttribute("aria-pressed", String(band === (place ? place - 1 : null)));
    }
  }

  function turn(step) {
    page += step;
    draw();
    byId("groups").scrollIntoView();
  }

  function chip(label, value) {
    const made = element("button", "chip", label);
    made.type = "button";
    made.addEventListener("click", () => {
      band = value;
      page = 0;
      draw();
    });
    return made;
  }

  function bandChip(label, place) {
    const count = data.groups_in_band[place];
    const made = chip(label + " ", place);
    made.append(element("small", "", count.toLocaleString("en")));
    made.disabled = !count;
    return made;
  }

  if (data.bands.length > 1) {
    byId("bands").append(chip("all", null), ...data.bands.map(bandChip));
  }
  byId("previous").addEventListener("click", () => turn(-1));
  byId("next").addEventListener("click", () => turn(1));
  draw();
}
