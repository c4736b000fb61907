
/* The page is the report or, at #audit, the audit; the audit's pictures are unpacked when first wanted. */
function setUpPage() {
  let press = null;

  function route() {
    const auditing = location.hash === "#audit";
    byId("report").hidden = auditing;
    byId("audit-mode").hidden = !auditing;
    document.body.classList.toggle("auditing", auditing);
    if (auditing && !press) press = setUpAudit();
    if (auditing) scrollTo(0, 0);
    /* The browser looked for this while the report was hidden. */
    else if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
  }

  addEventListener("hashchange", route);
  addEventListener("keydown", (event) => {
    if (location.hash === "#audit") press(event);
  });
  setUpGroups();
  route();
}

setUpPage();
