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
// A page that follows asks for its list anew when there is news, but not more often than one can read.
const followed = document.querySelector("[data-live]");
if (followed && window.EventSource) {
  const news = new EventSource(followed.dataset.live);
  let waiting;
  const look = () => {
    waiting ??= setTimeout(() => {
      waiting = undefined;
      htmx.trigger(`#${followed.id}`, "news");
    }, 500);
  };
  ["open", "attempt", "missed"].forEach((name) => news.addEventListener(name, look));
  addEventListener("pagehide", () => news.close());
}
// A link from a terminal signs in: its token stands behind the #, which is sent nowhere, and does not stay there.
const token = document.getElementById("token");
const signIn = () => {
  if (!token || !location.hash.startsWith("#bnb_")) return;
  token.value = location.hash.slice(1);
  history.replaceState(null, "", location.pathname);
  token.form.requestSubmit();
};
signIn();
addEventListener("hashchange", signIn);
// What was refused is read out first.
document.querySelector("[data-focus]")?.focus();
