"use strict";
(() => {
  const live = document.getElementById("live");
  const pause = document.getElementById("pause");
  if (!live || live.dataset.search || !window.EventSource) return;
  let waiting = null;

  const show = (html) => {
    // the reader's place is kept: what has the focus is found again by its id
    const focused = document.activeElement && live.contains(document.activeElement) ? document.activeElement.id : "";
    live.innerHTML = html;
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  };
  const events = new EventSource("/events");
  events.addEventListener("update", (event) => {
    const html = JSON.parse(event.data);
    if (pause.getAttribute("aria-pressed") === "true") waiting = html;
    else show(html);
  });
  pause.hidden = false;
  pause.addEventListener("click", () => {
    const paused = pause.getAttribute("aria-pressed") !== "true";
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Resume" : "Pause";
    if (!paused && waiting !== null) { show(waiting); waiting = null; }
  });
})();
