// What the user has chosen, in localStorage; null leaves a value to the server.

import { by_id } from "./dom.js";

const KEY = "zaya.settings";
const DEFAULTS = {
  system: "", temperature: null, topP: null, maxTokens: null, seed: null,
  think: true, budget: null, showThinking: false, rsa: false, rsaPreset: "auto",
  theme: "system", stats: true, sidebar: true, key: "", model: "",
};

class Settings extends EventTarget {
  #values = { ...DEFAULTS };

  constructor() {
    super();
    this.#read();
    // Another tab has changed them.
    addEventListener("storage", (event) => {
      if (event.key !== KEY) return;
      this.#read();
      this.dispatchEvent(new Event("change"));
    });
  }

  #read() {
    try {
      const stored = JSON.parse(localStorage.getItem(KEY) ?? "{}");
      for (const [name, value] of Object.entries(DEFAULTS)) {
        // Only what has the type it must have; a number may also be null.
        const fits = value === null ? stored[name] === null || Number.isFinite(stored[name]) : typeof stored[name] === typeof value;
        if (fits) this.#values[name] = stored[name];
      }
    } catch {
      // Unreadable or no storage: the defaults.
    }
  }

  get(name) { return this.#values[name]; }

  set(name, value) {
    if (this.#values[name] === value) return;
    this.#values[name] = value;
    try {
      localStorage.setItem(KEY, JSON.stringify(this.#values));
    } catch {
      // Full or forbidden: it holds for this visit.
    }
    this.dispatchEvent(new Event("change"));
  }
}

export const settings = new Settings();

// Ties the controls of the dialog to the settings they name in data-setting.
export function bind_settings() {
  const controls = [...document.querySelectorAll("[data-setting]")];
  const show = () => {
    for (const control of controls) {
      const value = settings.get(control.dataset.setting);
      if (control.type === "checkbox") control.checked = value;
      else if (document.activeElement !== control) control.value = value ?? "";
    }
  };
  for (const control of controls) {
    control.addEventListener("input", () => {
      if (!control.checkValidity()) return;
      if (control.type === "checkbox") settings.set(control.dataset.setting, control.checked);
      else if (control.type === "number") settings.set(control.dataset.setting, control.value === "" ? null : Number(control.value));
      else settings.set(control.dataset.setting, control.value);
    });
  }
  settings.addEventListener("change", show);
  show();
  close_on_outside_click(by_id("settings"));
  close_on_outside_click(by_id("keys"));
}

function close_on_outside_click(dialog) {
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
}

const dark_system = matchMedia("(prefers-color-scheme: dark)");

export const is_dark = () =>
  settings.get("theme") === "dark" || (settings.get("theme") === "system" && dark_system.matches);

export function follow_theme(changed) {
  const apply = () => {
    document.documentElement.dataset.theme = is_dark() ? "dark" : "light";
    document.body.classList.toggle("no-stats", !settings.get("stats"));
    changed();
  };
  settings.addEventListener("change", apply);
  dark_system.addEventListener("change", apply);
  apply();
}
