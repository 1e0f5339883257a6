// Fetches this page again every second while it is visible, and updates the parts marked as live.
// A part that has the focus is updated only after it loses the focus.
"use strict";

const PAUSE_MS = 1000;

function renew(fresh) {
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.getElementById(part.id);
    if (!next || part.contains(document.activeElement)) continue;
    if (part.innerHTML !== next.innerHTML) part.innerHTML = next.innerHTML;
  }
}

async function look() {
  if (document.visibilityState === "visible") {
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      if (answer.ok) renew(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch {
      // The sandbox has stopped; the page keeps what it shows.
    }
  }
  setTimeout(look, PAUSE_MS);
}

if (document.querySelector("[data-live]")) setTimeout(look, PAUSE_MS);
