// What the page is better with: it follows the proxy by itself, counts down, and copies. Everything else works without.
"use strict";

const PAUSE = 2000;

// Makes `old` like `fresh`, changing only what differs: what somebody has typed, opened or selected stays.
function follow(old, fresh) {
  if (old.isEqualNode(fresh)) return;
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName || (old.id || "") !== (fresh.id || "")) {
    old.replaceWith(document.importNode(fresh, true));
    return;
  }
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
    return;
  }
  for (const { name } of [...old.attributes]) {
    if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  let place = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const same = child.id && [...old.children].find((other) => other.id === child.id);
    if (same && same !== place) old.insertBefore(same, place);
    const current = same || place;
    if (current && (same || !(current.id || child.id))) {
      const next = current.nextSibling;
      follow(current, child);
      place = next;
    } else {
      old.insertBefore(document.importNode(child, true), place);
    }
  }
  while (place) {
    const next = place.nextSibling;
    place.remove();
    place = next;
  }
}

async function refresh() {
  const answer = await fetch("/", { headers: { Accept: "text/html" }, cache: "no-store" });
  if (answer.status === 401) {
    location.reload();
    return;
  }
  if (!answer.ok) throw new Error(answer.statusText);
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  prepare(fresh);
  document.title = fresh.title;
  follow(document.body, fresh.body);
}

// The buttons that need this script.
function prepare(page) {
  for (const button of page.querySelectorAll("button[data-copy]")) button.hidden = !navigator.clipboard;
}

function lost() {
  const status = document.getElementById("status");
  if (!status) return;
  status.className = "status lost";
  status.lastChild.textContent = "No answer from emailproxy; trying again";
}

function countDown() {
  for (const time of document.querySelectorAll("time[data-left]")) {
    const left = Math.max(0, Number(time.dataset.left) - 1);
    time.dataset.left = left;
    time.textContent = Math.floor(left / 60) + ":" + String(left % 60).padStart(2, "0");
  }
}

async function copy(button) {
  await navigator.clipboard.writeText(button.dataset.copy);
  const text = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => (button.textContent = text), 1500);
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-copy]");
  if (button) copy(button);
});

// A form that waits for its answer says so, and is not sent twice.
document.addEventListener("submit", (event) => {
  const button = event.submitter;
  if (!button || event.defaultPrevented) return;
  busy = true;
  // Later: a disabled button would not be sent along.
  setTimeout(() => (button.disabled = true));
});

// The page may come back from the browser's memory.
window.addEventListener("pageshow", (event) => {
  if (event.persisted) location.reload();
});

let busy = false;
let again = 0;

async function run() {
  clearTimeout(again);
  if (!document.hidden && !busy) {
    try {
      await refresh();
    } catch {
      if (!busy) lost();
    }
  }
  again = setTimeout(run, PAUSE);
}

prepare(document);
setInterval(countDown, 1000);
document.addEventListener("visibilitychange", run);
again = setTimeout(run, PAUSE);
