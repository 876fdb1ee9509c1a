// Building elements. Nothing here takes markup: text stays text.

const SVG = "http://www.w3.org/2000/svg";

const ICONS = {
  plus: "M12 5v14M5 12h14",
  search: "M11 4a7 7 0 1 1 0 14a7 7 0 0 1 0-14M16.2 16.2L20 20",
  sidebar: "M5 4.5h14a2 2 0 0 1 2 2v11a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2v-11a2 2 0 0 1 2-2M9.5 4.5v15",
  sliders: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.8a2.2 2.2 0 1 1 0 4.4a2.2 2.2 0 0 1 0-4.4M9 14.8a2.2 2.2 0 1 1 0 4.4a2.2 2.2 0 0 1 0-4.4",
  board: "M4.5 6h4M4.5 12h4M4.5 18h4M15.5 6h4M15.5 12h4M15.5 18h4M8.5 6c4 0 3 6 7 6M8.5 18c4 0 3-6 7-6M8.5 6h7",
  moon: "M20 14.5A8.3 8.3 0 0 1 9.5 4a8.3 8.3 0 1 0 10.5 10.5",
  sun: "M12 8a4 4 0 1 1 0 8a4 4 0 0 1 0-8M12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
  bulb: "M9.3 17h5.4M10 20h4M8.8 14.2a6 6 0 1 1 6.4 0c-.5.4-.7 1-.7 1.6V17h-5v-1.2c0-.6-.2-1.2-.7-1.6",
  up: "M12 19V5.5M6 11l6-6l6 6",
  down: "M12 5v13.5M6 13l6 6l6-6",
  stop: "M7.5 7.5h9v9h-9z",
  play: "M8 5.5l11 6.5l-11 6.5z",
  pause: "M8.5 6v12M15.5 6v12",
  close: "M6 6l12 12M18 6L6 18",
  copy: "M9 9h10v11H9zM15 9V4H5v11h4",
  check: "M5 12.5l4.5 4.5L19 7.5",
  edit: "M4.5 19.5l.8-4L16 4.8a1.5 1.5 0 0 1 2.2 0l1 1a1.5 1.5 0 0 1 0 2.2L8.5 18.7zM14 6.8l3.2 3.2",
  again: "M19.5 12a7.5 7.5 0 1 1-2.3-5.4L19.5 9M19.5 4.5V9H15",
  left: "M14.5 6l-6 6l6 6",
  right: "M9.5 6l6 6l-6 6",
  trash: "M4.5 7h15M9.5 7V4.5h5V7M6.5 7l1 13h9l1-13M10.3 11v5.5M13.7 11v5.5",
  download: "M12 4v11M7 10.5l5 5l5-5M4.5 20h15",
  image: "M4 5h16v14H4zM4 16l5-5l4 4l3-3l4 4M15.5 9.5h.01",
};

const FILLED = new Set(["stop", "play"]);

// el("button", {class: "x", text: "y", on: {click: f}, "aria-label": "z"}, child, "text", …)
export function el(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "text") element.textContent = value;
    else if (name === "on") for (const [type, listener] of Object.entries(value)) element.addEventListener(type, listener);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export function icon(name) {
  return svg("svg", { class: FILLED.has(name) ? "icon filled" : "icon", viewBox: "0 0 24 24", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}

export function icon_button(name, label, click, extra = {}) {
  return el("button", { type: "button", class: "icon-button small", "aria-label": label, title: label, on: { click }, ...extra },
    icon(name));
}

export function set_icon(element, name) {
  element.querySelector("svg.icon")?.remove();
  element.prepend(icon(name));
}

export const by_id = (id) => document.getElementById(id);

// Fills in the icons that the document names.
export function place_icons(root = document) {
  for (const element of root.querySelectorAll("[data-icon]")) set_icon(element, element.dataset.icon);
}

export function toast(text) {
  const element = el("div", { class: "toast", text });
  by_id("toasts").append(element);
  setTimeout(() => element.remove(), 4000);
}

// For those who hear the page: what has happened, once, rather than every word as it streams.
export function announce(text) {
  by_id("announce").textContent = text;
}

export async function copy_text(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    copy_by_selection(text);  // a page without TLS, from another machine, has no clipboard interface
  }
  set_icon(button, "check");
  announce("Copied");
  setTimeout(() => set_icon(button, "copy"), 1500);
}

function copy_by_selection(text) {
  const area = el("textarea", { class: "visually-hidden" });
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

export function download(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  el("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

// A question in the page's own dialog: the text that was entered, true when there is nothing to enter, or null.
export function ask({ title, text = "", value = null, ok = "OK", danger = false }) {
  const dialog = by_id("ask"), input = by_id("ask-input"), yes = by_id("ask-ok");
  by_id("ask-title").textContent = title;
  by_id("ask-text").textContent = text;
  by_id("ask-text").hidden = !text;
  input.hidden = value === null;
  input.value = value ?? "";
  yes.textContent = ok;
  yes.className = danger ? "danger" : "primary";
  dialog.returnValue = "";
  dialog.showModal();
  // Enter in the box means yes; a form's first button would be taken otherwise.
  input.onkeydown = (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    dialog.close("yes");
  };
  if (value === null) yes.focus();
  else input.select();
  return new Promise((resolve) => dialog.addEventListener("close", () =>
    resolve(dialog.returnValue !== "yes" ? null : value === null ? true : input.value.trim()), { once: true }));
}

export const number = (value) => Math.round(value).toLocaleString("en-US");

export function seconds(value) {
  if (!Number.isFinite(value)) return "–";
  if (value < 0.0995) return `${Math.round(value * 1000)} ms`;
  if (value < 9.95) return `${value.toFixed(1)} s`;
  if (value < 60) return `${Math.round(value)} s`;
  const minutes = Math.floor(value / 60);
  return minutes < 60 ? `${minutes} min ${Math.round(value % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
