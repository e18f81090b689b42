(() => {
  "use strict";

  // Pages opened from a folder may have no clipboard of their own: then the words are selected and copied.
  const copy = async (words) => {
    try {
      await navigator.clipboard.writeText(words);
    } catch {
      const field = document.body.appendChild(document.createElement("textarea"));
      field.value = words;
      field.select();
      document.execCommand("copy");
      field.remove();
    }
  };

  for (const button of document.querySelectorAll(".copy")) {
    button.hidden = false;
    button.addEventListener("click", async () => {
      const quote = button.closest("li").querySelector("q").textContent;
      await copy(`${quote} ${button.closest(".quotes").dataset.source}`);
      document.querySelector(".copied").textContent = `Copied with its source: ${quote}`;
      button.focus();
    });
  }

  const filter = document.querySelector(".filter");
  if (!filter) return;
  const area = filter.querySelector("#area"), cohort = filter.querySelector("#cohort");
  const status = filter.querySelector("[role=status]");

  // An area of several councils stays for comparison: its row has no code.
  const isOff = (row) => Boolean(area.value && row.dataset.row) && row.dataset.row !== area.value;

  const showRows = (panel) => {
    for (const row of panel.querySelectorAll("g.row, tr[data-row]")) row.classList.toggle("off", isOff(row));
    for (const tile of panel.querySelectorAll("g.tile")) tile.classList.toggle("ringed", tile.dataset.row === area.value);
    for (const words of panel.querySelectorAll(".chosen")) words.hidden = words.dataset.row !== area.value;
    const drawing = panel.querySelector("svg.chart[data-most]");
    if (!drawing) return;
    const rows = drawing.querySelectorAll("g.row:not(.off)");
    rows.forEach((row, place) => row.setAttribute("class", `row n${place}`));
    drawing.setAttribute("class", drawing.getAttribute("class").replace(/\bn\d+/, `n${rows.length}`));
    drawing.classList.toggle("long", rows.length > Number(drawing.dataset.most));
  };

  const isChosen = (each) =>
    (!("area" in each.dataset) || each.dataset.area === area.value) &&
    (!cohort || !("cohort" in each.dataset) || each.dataset.cohort === cohort.value);

  const showPanels = (panels) => {
    let shown = 0;
    for (const panel of panels.querySelectorAll(".panel")) {
      panel.hidden = !isChosen(panel);
      if (!panel.hidden) {
        shown += 1;
        showRows(panel);
      }
    }
    panels.querySelector(".none").hidden = shown > 0;
  };

  const query = () => {
    const parts = new URLSearchParams();
    if (area.value) parts.set("area", area.value);
    if (cohort) parts.set("cohort", cohort.value);
    return parts.size ? `?${parts}` : "";
  };

  // The choice goes along to the other pages, in their links.
  const keep = () => {
    for (const link of document.querySelectorAll(".pages a, a.page")) link.search = query();
    try {
      history.replaceState(null, "", `${location.pathname}${query()}${location.hash}`);
    } catch {
      // Not every browser lets a page change its address when it is opened from a folder.
    }
  };

  const show = () => {
    document.querySelectorAll(".panels").forEach(showPanels);
    for (const each of document.querySelectorAll(".findings, .finding")) each.hidden = !isChosen(each);
    keep();
  };

  const say = () => {
    const words = [area, cohort].filter(Boolean).map((choice) => choice.selectedOptions[0].text);
    status.textContent = `Showing ${words.join(", ")}`;
  };

  const given = new URLSearchParams(location.search);
  for (const choice of [area, cohort].filter(Boolean))
    if ([...choice.options].some((option) => option.value === given.get(choice.name))) choice.value = given.get(choice.name);
  filter.addEventListener("change", () => { show(); say(); });
  filter.hidden = false;
  show();
})();
