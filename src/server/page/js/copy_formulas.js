// What is copied out of an answer holds formulas as TeX, between dollars: as they stand on the page, a formula's text comes
// twice, once for the eye and once for screen readers.

export function copy_formulas_as_tex() {
  document.addEventListener("copy", (event) => {
    const selection = getSelection();
    if (selection.isCollapsed || selection.rangeCount === 0) return;
    const copied = document.createElement("div");
    copied.className = "copied prose";
    copied.append(selection.getRangeAt(0).cloneContents());
    const formulas = copied.querySelectorAll(".katex");
    if (formulas.length === 0) return;
    for (const formula of formulas) {
      const tex = formula.querySelector("annotation")?.textContent;
      if (tex) formula.replaceWith(formula.closest(".katex-display") ? `\n$$${tex}$$\n` : `$${tex}$`);
    }
    document.body.append(copied);  // innerText knows lines only of what is laid out
    event.clipboardData.setData("text/plain", copied.innerText);
    copied.remove();
    event.preventDefault();
  });
}
