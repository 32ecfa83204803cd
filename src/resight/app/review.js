// An answer names the question that was on the screen, so that a second press of a key never answers the next one.
(() => {
  const keys = { s: "same", d: "different", k: "skip", u: "undo" };
  const send = (what) => {
    const shown = document.getElementById("question");
    if (shown) emitEvent("answer", { what: what, question: shown.dataset.question || "" });
  };
  document.addEventListener("keydown", (event) => {
    const what = keys[event.key.toLowerCase()];
    const typing = event.target.closest && event.target.closest("input, textarea, select, [contenteditable]");
    if (!what || typing || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    send(what);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest && event.target.closest("button[data-answer]");
    if (button) send(button.dataset.answer);
  });
})();
