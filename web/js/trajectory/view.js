/** The trajectory editor on the page: toolbar, stage, timeline, and the panel that the full screen shows. */

import { h } from "../ui/dom.js";
import { t } from "../ui/language.js";
import { onKey } from "./keys.js";
import { panel } from "./panel.js";
import { paint } from "./paint.js";
import { Stage } from "./stage.js";
import { timeline } from "./timeline.js";
import { toolbar } from "./toolbar.js";
import { endPath, insertAt, TOOLS } from "./tools.js";

const REACH = { mouse: 9, pen: 12, touch: 22 }; // CSS pixels on the screen that a pointer may be off

export class EditorView {
  /** `host`: see state.js; besides background() -> address of an image or null, openFull(). */
  constructor(state, host) {
    this.state = state;
    this.host = host;
    this.image = null; // the background
    this.loaded = null; // address of an image that the user chose for it
    this.drag = null;
    this.build();
    this.resized = new ResizeObserver(() => this.schedule());
    this.resized.observe(this.stageElement);
    state.watch(() => this.schedule());
    this.schedule();
  }

  build() {
    const canvas = h("canvas", { "aria-hidden": "true" });
    this.pad = h("input", {
      type: "button",
      class: "choreo-pad",
      "aria-label": t("Paths. Arrow keys move the selected points, N selects the next one, Insert adds one."),
      onkeydown: (event) => onKey(this, event),
    });
    this.stageElement = h("div", { class: "choreo-stage" }, canvas, this.pad);
    this.stage = new Stage(this.stageElement, canvas);
    this.status = h("div", { class: "choreo-status", role: "status" });
    this.parts = [toolbar(this), timeline(this.state), panel(this)];
    const [tools, times, side] = this.parts;
    const main = h("div", { class: "choreo-main" }, tools, this.stageElement, times, this.status);
    this.element = h("div", { class: "choreo choreo-trajectories" }, main, side);
    this.listen();
  }

  listen() {
    const { pad } = this;
    pad.addEventListener("pointerdown", (event) => this.down(event));
    pad.addEventListener("pointermove", (event) => this.move(event));
    pad.addEventListener("pointerup", (event) => this.up(event));
    // also what takes the pointer away without a word; after its `pointerup` there is no drag any more
    for (const name of ["pointercancel", "lostpointercapture"])
      pad.addEventListener(name, ({ pointerId }) => this.drag?.pointer === pointerId && this.cancel());
    pad.addEventListener("dblclick", (event) => this.double(event));
    pad.addEventListener("contextmenu", (event) => event.preventDefault());
    pad.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    for (const name of ["dragover", "drop"]) pad.addEventListener(name, (event) => this.drop(event));
  }

  /** The radius that counts as a hit, in pixels of the frame. */
  radius(event) {
    const { scale } = this.stage.transform(this.state.size);
    return (REACH[event.pointerType] ?? REACH.mouse) / scale;
  }

  place(event) {
    return this.stage.frameAt(event, this.state.size);
  }

  down(event) {
    if (this.drag || this.state.error || event.button > 1) return;
    this.pad.focus({ preventScroll: true });
    this.pad.setPointerCapture(event.pointerId);
    const pan = event.button === 1;
    const begin = pan
      ? panDown(this.stage, event)
      : TOOLS[this.state.tool].down(this.state, this.place(event), event, this.radius(event));
    this.drag = { ...begin, pointer: event.pointerId };
    this.schedule();
  }

  move(event) {
    if (this.drag?.pointer !== event.pointerId) return;
    const events = (this.drag.every && event.getCoalescedEvents?.()) || [];
    for (const each of events.length ? events : [event]) this.drag.move(this.place(each), each);
    this.schedule();
  }

  up(event) {
    if (this.drag?.pointer !== event.pointerId) return;
    const { drag } = this;
    this.drag = null;
    drag.up(this.place(event), event);
    this.schedule();
  }

  /** Leave a drag without a change. */
  cancel() {
    if (!this.drag) return;
    this.drag = null;
    this.state.growing = false;
    this.state.restore();
  }

  double(event) {
    if (this.state.tool === "select") insertAt(this.state, this.place(event), this.radius(event));
    else if (this.state.tool === "pen")
      endPath(this.state, this.radius({ pointerType: "touch" })); // the event does not say what clicked
  }

  /** Zoom in the full screen, or with Ctrl; else the host's own zoom. */
  wheel(event) {
    if (!this.full && !event.ctrlKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.stage.zoomBy(Math.exp(-event.deltaY / 400), this.stage.local(event));
    this.schedule();
  }

  /** An image dropped on the stage is its background. */
  drop(event) {
    const file = [...(event.dataTransfer?.files ?? [])].find((each) => each.type.startsWith("image/"));
    if (!file && event.type === "drop") return;
    event.preventDefault();
    event.stopPropagation();
    if (file) this.useImage(file);
  }

  /** Show an image file of the user's behind the paths; it is not part of the trajectories. */
  useImage(file) {
    if (this.loaded) URL.revokeObjectURL(this.loaded);
    this.loaded = file && URL.createObjectURL(file);
    this.schedule();
  }

  /** Draw before the next picture of the screen; several changes make one drawing. */
  schedule() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      this.draw();
    });
  }

  draw() {
    this.state.reread();
    this.background(this.loaded ?? this.host.background());
    for (const part of this.parts) part.update();
    this.element.dataset.tool = this.state.tool;
    this.showStatus();
    const context = this.stage.begin();
    if (!context) return;
    paint(context, this.stage, this.state, {
      image: this.image,
      ...this.drag?.extra?.(),
    });
  }

  background(address) {
    if (address === (this.image?.dataset.address ?? null)) return;
    this.image = address && Object.assign(new Image(), { onload: () => this.schedule(), src: address });
    if (this.image) this.image.dataset.address = address;
  }

  /** One line: what is wrong, or where things are. */
  showStatus() {
    const { state } = this;
    const wrong = state.error ?? state.sampled.find(({ error }) => error)?.error;
    this.status.classList.toggle("choreo-wrong", Boolean(wrong));
    this.status.textContent = wrong ?? summary(state);
  }

  dispose() {
    cancelAnimationFrame(this.waiting);
    this.resized.disconnect();
    this.useImage(null);
    this.state.dispose();
  }
}

function summary({ doc, selection, size, frames, frame }) {
  const chosen = selection.list;
  const clip = `${size[0]} x ${size[1]}, ${t("frame")} ${frame + 1}/${frames}`;
  if (chosen.length === 1) {
    const [[track, point]] = chosen;
    const { x, y } = doc.tracks[track].points[point];
    const px = (value) => Math.round(value * 10) / 10;
    return `${doc.tracks[track].name} - ${t("point")} ${point + 1}: ${px(x * size[0])}, ${px(y * size[1])} px | ${clip}`;
  }
  const counts = chosen.length
    ? t("Selected points: {count}", { count: chosen.length })
    : t("Tracks: {count}", { count: doc.tracks.length });
  return `${counts} | ${clip}`;
}

/** Move the view with the middle button. */
function panDown(stage, start) {
  const [shift, from] = [stage.shift, stage.local(start)];
  const move = (_, event) => {
    const to = stage.local(event);
    stage.shift = shift.map((part, a) => part + to[a] - from[a]);
  };
  return { move, up: () => undefined };
}
