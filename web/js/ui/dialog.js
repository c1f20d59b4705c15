/** An editor over the whole page, and back into its node. */

import { h } from "./dom.js";
import { t } from "./language.js";

/**
 * Show `element` over the page until it is closed; then it is back in its place and `onclose` is called.
 * The dialog stays inside the node's own part of the page: the browser shows it above all else.
 */
function showFull(element, title, onclose) {
  const place = h("div", { class: "choreo-away" }, t("This editor is open over the page."));
  element.replaceWith(place);
  const stop = (event) => event.stopPropagation();
  const dialog = h("dialog", { class: "choreo-dialog", "aria-label": title, onwheel: stop }, element);
  dialog.addEventListener("close", () => {
    place.replaceWith(element);
    dialog.remove();
    onclose();
  });
  place.after(dialog);
  dialog.showModal();
  return () => dialog.close();
}

/** The way of a `view` ({ element, full, schedule() }) over the whole page and back; `full` says where it is. */
export function fullScreen(view, title) {
  let close = null;
  const closed = () => {
    view.full = false;
    close = null;
    view.schedule();
  };
  const open = () => {
    view.full = true;
    close = showFull(view.element, title, closed);
    view.schedule();
  };
  return { toggle: () => (close ? close() : open()), dispose: () => close?.() };
}
