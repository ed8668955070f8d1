"use strict";
(function () {
  const root = document.documentElement;
  const themes = ["auto", "light", "dark"];
  const button = document.getElementById("theme");

  function remembered() {
    try { return localStorage.getItem("inferometer-theme") || "auto"; } catch (error) { return "auto"; }
  }

  function setTheme(name) {
    if (name === "auto") { root.removeAttribute("data-theme"); } else { root.setAttribute("data-theme", name); }
    button.textContent = "Theme: " + name;
    button.dataset.theme = name;
    try { localStorage.setItem("inferometer-theme", name); } catch (error) { /* a file opened without storage */ }
  }

  button.addEventListener("click", function () {
    setTheme(themes[(themes.indexOf(button.dataset.theme) + 1) % themes.length]);
  });
  setTheme(remembered());

  function sortBy(header) {
    const table = header.closest("table");
    const index = Array.prototype.indexOf.call(header.parentNode.children, header);
    const numeric = header.classList.contains("number");
    const current = header.getAttribute("aria-sort");
    const direction = current ? (current === "ascending" ? "descending" : "ascending") : (numeric ? "descending" : "ascending");
    for (const other of header.parentNode.children) { other.removeAttribute("aria-sort"); }
    header.setAttribute("aria-sort", direction);
    const sign = direction === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const rows = Array.from(body.rows);
    rows.sort(function (one, other) {
      const a = one.cells[index], b = other.cells[index];
      if (numeric && a.dataset.sort !== undefined && b.dataset.sort !== undefined) {
        return sign * (Number(a.dataset.sort) - Number(b.dataset.sort));
      }
      return sign * a.textContent.localeCompare(b.textContent, undefined, { numeric: true });
    });
    body.append(...rows);
  }

  document.addEventListener("click", function (event) {
    const sorter = event.target.closest("button.sort");
    if (sorter) { sortBy(sorter.closest("th")); }
  });

  // what a link leads to may be folded away
  function unfold() {
    const place = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const fold = place && place.closest("details");
    if (fold && !fold.open) { fold.open = true; place.scrollIntoView(); }
  }
  window.addEventListener("hashchange", unfold);
  unfold();

  document.addEventListener("input", function (event) {
    const id = event.target.dataset && event.target.dataset.filter;
    if (!id) { return; }
    const words = event.target.value.trim().toLowerCase().split(/\s+/);
    for (const row of document.getElementById("table-" + id).tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every(function (word) { return text.includes(word); });
    }
  });

  // colours stay names, so that charts follow the theme, and the paper of a print, without being drawn again
  function theme(narrow) {
    const ink = "var(--ink)", soft = "var(--soft)", line = "var(--line)", first = "var(--c1)";
    const palette = ["c1", "c3", "c5", "c2", "c4", "c6", "soft"].map(function (name) { return "var(--" + name + ")"; });
    return {
      background: "transparent",
      font: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
      axis: { labelColor: soft, titleColor: soft, titleFontWeight: 500, titleFontSize: 12, labelFontSize: 12, domainColor: line, tickColor: line, gridColor: line, titlePadding: 10 },
      axisX: { grid: false },
      legend: { labelColor: ink, titleColor: soft, labelFontSize: 12, symbolType: "square", labelLimit: 260, columns: narrow ? 2 : 3 },
      view: { stroke: null },
      range: { category: palette, ordinal: [first, "var(--bad)", "var(--good)"] },
      mark: { color: first },
      bar: { color: first }, line: { color: first }, area: { color: first },
      point: { color: first, fill: first },
      rule: { color: ink },
      text: { color: soft, fontSize: 12 }
    };
  }

  const drawn = new Map();
  let specs = {};

  function draw(place) {
    const spec = specs[place.dataset.chart];
    if (!spec || drawn.has(place)) { return; }
    drawn.set(place, window.vegaEmbed(place, spec, {
      actions: false, renderer: "svg", ast: true, config: theme(place.clientWidth < 760), tooltip: { theme: "custom" }
    }).catch(function (error) { place.textContent = "This chart could not be drawn: " + error.message; }));
  }

  const seen = "IntersectionObserver" in window ? new IntersectionObserver(function (entries) {
    for (const entry of entries) {
      if (entry.isIntersecting) { seen.unobserve(entry.target); draw(entry.target); }
    }
  }, { rootMargin: "600px" }) : null;

  function places() { return document.querySelectorAll("[data-chart]"); }

  window.drawCharts = function () {
    specs = JSON.parse(document.getElementById("charts").textContent);
    for (const place of places()) { if (seen) { seen.observe(place); } else { draw(place); } }
  };
  window.drawAllCharts = function () {
    for (const place of places()) { draw(place); }
    return Promise.all(drawn.values());
  };

  window.addEventListener("beforeprint", function () { window.drawAllCharts(); });
})();
