// What a page cannot do without script: dialogs that give the focus back, "select all", and a flow that can be paused.
// Everything else works without this file.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) {
    const dialog = document.getElementById(opener.dataset.dialog);
    if (dialog?.showModal) {
      event.preventDefault();
      opener.closest("details")?.removeAttribute("open");
      const back = opener.closest("details")?.querySelector("summary") ?? opener;
      dialog.addEventListener("close", () => back.focus(), { once: true });
      dialog.showModal();
    }
  }
  if (event.target.closest("[data-close]")) event.target.closest("dialog").close();
});
// "Select all" shows what its boxes are, and sets them all.
const reflect = (all) => {
  const boxes = [...all.closest("fieldset").querySelectorAll("input[type=checkbox]:not([data-all])")];
  const chosen = boxes.filter((box) => box.checked).length;
  all.checked = chosen === boxes.length;
  all.indeterminate = chosen > 0 && chosen < boxes.length;
};
document.addEventListener("change", (event) => {
  const all = event.target.closest("fieldset")?.querySelector("[data-all]");
  if (!all) return;
  const wanted = all.checked;
  const boxes = event.target === all ? [...all.closest("fieldset").querySelectorAll("input[type=checkbox]")] : [];
  boxes.forEach((box) => (box.checked = wanted));
  reflect(all);
});
document.querySelectorAll("[data-all]").forEach(reflect);
// What was refused is read out first.
document.querySelector("[data-focus]")?.focus();
