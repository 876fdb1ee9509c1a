// Before anything is painted: the appearance that was chosen, so that a dark page never flashes white. Not a module,
// because modules run after the first paint.
(function () {
  "use strict";
  var theme = "system";
  try {
    theme = JSON.parse(localStorage.getItem("zaya.settings") || "{}").theme;
  } catch (error) {
    // No storage: as the system has it.
  }
  if (theme !== "light" && theme !== "dark") theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  document.documentElement.dataset.theme = theme;
})();
