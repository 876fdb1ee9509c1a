// Puts the page together: views, settings, models, keys, addresses.

import { by_id, ask, download, place_icons, set_icon, toast } from "./dom.js";
import { Chat } from "./chat.js";
import { BoardPage } from "./board/board_page.js";
import { Sidebar } from "./sidebar.js";
import { copy_formulas_as_tex } from "./copy_formulas.js";
import { bind_settings, follow_theme, is_dark, settings } from "./settings.js";
import { export_text, import_text } from "./conversation.js";
import { is_healthy, list_models } from "./api.js";
import { store } from "./store.js";

// Published settings of Markovian RSA (docs/markovian-rsa.md); `tiny` is for short contexts, `auto` the server's choice.
const PRESETS = ["auto", "tiny", "light", "small", "deployment", "headline", "high", "extra-high"];
const NARROW = matchMedia("(max-width: 860px)");
const WATCH = 15000;  // ms between looks at the server's health

let models = [];

place_icons();
const board = new BoardPage();
const chat = new Chat({
  model: () => models.find(({ id }) => id === settings.get("model")) ?? models[0],
  changed: () => {
    sidebar.draw();
    if (!chat.conversation.empty && !on_board()) replace_address(`#/c/${chat.conversation.id}`);
  },
  show_board: (node) => {
    board.show_answer(node.journal ?? [], chat.generation?.node === node ? chat.generation : null);
    location.hash = "#/board";
  },
});
const sidebar = new Sidebar({
  open: (id) => {
    if (NARROW.matches) set_sidebar(false);
    location.hash = `#/c/${id}`;
  },
  is_current: (id) => id === chat.conversation.id && !on_board(),
  is_busy: (id) => chat.is_busy(id),
  renamed: (id, title) => {
    if (id !== chat.conversation.id) return;
    chat.conversation.title = title;
    by_id("title").textContent = title;
  },
  removed: (id) => {
    chat.forget(id);
    if (id !== chat.conversation.id) return;
    // At once: what its answer's end still says must find another conversation here.
    chat.start_new();
    if (!on_board()) replace_address("#/");
  },
});

const on_board = () => location.hash === "#/board";
const replace_address = (hash) => history.replaceState(null, "", hash);

async function route() {
  const [, view, id] = location.hash.split("/");
  by_id("board-view").hidden = view !== "board";
  by_id("chat").hidden = view === "board";
  by_id("open-board").toggleAttribute("aria-current", view === "board");
  if (view === "board") by_id("title").textContent = "Reasoning board";
  else if (view === "c" && id === chat.conversation.id) await chat.show();
  else if (view !== "c" || !await chat.open(id)) chat.start_new();
  sidebar.draw();
}

function go_new() {
  if (NARROW.matches) set_sidebar(false);
  if (location.hash === "#/" || location.hash === "") chat.start_new();
  else location.hash = "#/";
}

function set_sidebar(shown) {
  document.body.classList.toggle("sidebar-hidden", !shown);
  if (!NARROW.matches) settings.set("sidebar", shown);
  by_id("sidebar-open").setAttribute("aria-expanded", String(shown));
}

function toggle_board() {
  if (on_board()) history.length > 1 ? history.back() : (location.hash = "#/");
  else location.hash = "#/board";
  if (NARROW.matches) set_sidebar(false);
}

async function load_models() {
  try {
    models = await list_models();
  } catch (error) {
    show_status(false, error.status === 401 ? "API key needed" : "offline");
    if (error.status === 401) toast(error.message);
    return;
  }
  const select = by_id("model-select"), name = by_id("model-name");
  select.replaceChildren(...models.map(({ id }) => new Option(id, id, false, id === settings.get("model"))));
  select.hidden = models.length < 2;
  name.hidden = models.length > 1;
  show_status(models.length > 0, models[0]?.id ?? "no model");
  offer_rsa();
  const { context } = models[0] ?? {};
  by_id("welcome-model").textContent = models[0] ? `${models[0].id} answers on this server${context ? `, with a context of ${context.toLocaleString("en-US")} tokens` : ""}.` : "";
}

// Only where the model on this server is said to have it.
function offer_rsa() {
  const offered = (models.find(({ id }) => id === settings.get("model")) ?? models[0])?.rsa ?? false;
  by_id("rsa-toggle").hidden = !offered;
  by_id("rsa-preset").hidden = !offered || !settings.get("rsa");
}

function show_status(up, name) {
  by_id("status-dot").className = `dot ${up ? "up" : "down"}`;
  by_id("status-dot").title = up ? "The server answers" : "The server does not answer";
  by_id("model-name").textContent = name;
  by_id("model-name").hidden = up && models.length > 1;
}

async function watch_server() {
  if (document.hidden) return;
  const healthy = await is_healthy();
  if (healthy !== by_id("status-dot").classList.contains("up")) {
    if (healthy) await load_models();
    else show_status(false, "offline");
  }
}

function bind_controls() {
  by_id("new-chat").addEventListener("click", go_new);
  by_id("open-board").addEventListener("click", toggle_board);
  by_id("open-settings").addEventListener("click", () => by_id("settings").showModal());
  by_id("sidebar-open").addEventListener("click", () => set_sidebar(document.body.classList.contains("sidebar-hidden")));
  by_id("sidebar-close").addEventListener("click", () => {
    set_sidebar(false);
    by_id("sidebar-open").focus();
  });
  by_id("scrim").addEventListener("click", () => set_sidebar(false));
  by_id("theme-toggle").addEventListener("click", () => settings.set("theme", is_dark() ? "light" : "dark"));
  by_id("model-select").addEventListener("change", (event) => settings.set("model", event.target.value));
  by_id("think-toggle").addEventListener("click", () => settings.set("think", !settings.get("think")));
  by_id("rsa-toggle").addEventListener("click", () => settings.set("rsa", !settings.get("rsa")));
  const preset = by_id("rsa-preset");
  preset.append(...PRESETS.map((name) => new Option(name, name)));
  preset.addEventListener("change", () => settings.set("rsaPreset", preset.value));
  const show = () => {
    by_id("think-toggle").setAttribute("aria-pressed", String(settings.get("think")));
    by_id("rsa-toggle").setAttribute("aria-pressed", String(settings.get("rsa")));
    offer_rsa();
    preset.value = settings.get("rsaPreset");
  };
  settings.addEventListener("change", show);
  show();
  let key = settings.get("key");
  by_id("settings").addEventListener("close", () => {
    if (key !== settings.get("key")) load_models();
    key = settings.get("key");
  });
}

function bind_files() {
  by_id("export-all").addEventListener("click", async () => {
    const conversations = await store.all();
    if (conversations.length === 0) toast("There is nothing to export.");
    else download(`zaya-conversations-${new Date().toISOString().slice(0, 10)}.json`, export_text(conversations));
  });
  by_id("import").addEventListener("click", () => by_id("import-file").click());
  by_id("import-file").addEventListener("change", async (event) => {
    const [file] = event.target.files;
    event.target.value = "";
    if (!file) return;
    try {
      const conversations = import_text(await file.text());
      for (const conversation of conversations) await store.put(conversation);
      toast(`${conversations.length} ${conversations.length === 1 ? "conversation" : "conversations"} imported.`);
    } catch (error) {
      toast(error.message);
    }
  });
  by_id("delete-all").addEventListener("click", async () => {
    const conversations = await store.all();
    const count = conversations.length === 1 ? "1 conversation" : `${conversations.length} conversations`;
    if (!await ask({ title: "Delete everything?", text: `${count} will be gone for good.`, ok: "Delete all", danger: true })) return;
    for (const { id } of conversations) {
      chat.forget(id);
      await store.remove(id);
    }
    by_id("settings").close();
    location.hash = "#/";
    chat.start_new();
  });
}

const ALT_KEYS = {
  KeyN: go_new,
  KeyK: () => {
    set_sidebar(true);
    by_id("search").focus();
  },
  KeyR: () => chat.again(),
  KeyT: () => by_id("think-toggle").click(),
  KeyB: toggle_board,
};

function bind_keys() {
  document.addEventListener("keydown", (event) => {
    if (document.querySelector("dialog[open]")) return;
    const typing = /^(?:INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName);
    if (event.altKey && !event.ctrlKey && !event.metaKey && ALT_KEYS[event.code]) {
      event.preventDefault();
      ALT_KEYS[event.code]();
    } else if (event.key === "Escape") {
      if (chat.generation) chat.stop();
      else if (NARROW.matches) set_sidebar(false);
    } else if (!typing && event.key === "/") {
      event.preventDefault();
      by_id("composer-text").focus();
    } else if (event.key === "?" && (!typing || (event.target === by_id("composer-text") && event.target.value === ""))) {
      event.preventDefault();
      by_id("keys").showModal();
    }
  });
}

async function start() {
  bind_settings();
  bind_controls();
  bind_files();
  bind_keys();
  copy_formulas_as_tex();
  follow_theme(() => set_icon(by_id("theme-toggle"), is_dark() ? "sun" : "moon"));
  set_sidebar(!NARROW.matches && settings.get("sidebar"));
  addEventListener("hashchange", route);
  addEventListener("online", load_models);
  setInterval(watch_server, WATCH);
  load_models();
  await store.open();
  if (!store.lasting) toast("This browser window keeps nothing: conversations end with it.");
  await sidebar.refresh();
  await route();
  if (!NARROW.matches) by_id("composer-text").focus();
}

start();
