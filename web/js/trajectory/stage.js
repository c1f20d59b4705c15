/** Where the frame lies on the screen: pixels of the frame to and from CSS pixels of the stage, at any zoom. */

const MARGIN = 0.09; // of the stage's smaller side, for points outside the frame
const MOST_PIXELS = 4096; // of a side of the canvas

export class Stage {
  /** `element` holds the canvas and has its size. */
  constructor(element, canvas) {
    this.element = element;
    this.canvas = canvas;
    this.zoom = 1;
    this.shift = [0, 0];
  }

  /** Frame to CSS pixels: { scale, x, y } so that css = frame * scale + (x, y). */
  transform([width, height]) {
    const [wide, high] = [this.element.clientWidth, this.element.clientHeight];
    const margin = MARGIN * Math.min(wide, high);
    const fit = Math.max(Math.min((wide - 2 * margin) / width, (high - 2 * margin) / height), 1e-3);
    const scale = fit * this.zoom;
    return {
      scale,
      x: (wide - width * scale) / 2 + this.shift[0],
      y: (high - height * scale) / 2 + this.shift[1],
    };
  }

  /** How much larger the stage is on the screen than its CSS size: the host's zoom. */
  get magnified() {
    return this.element.clientWidth
      ? this.element.getBoundingClientRect().width / this.element.clientWidth
      : 1;
  }

  /** CSS pixels of the stage under a pointer. */
  local(event) {
    const box = this.element.getBoundingClientRect();
    const share = (value, from, length, full) => (length ? ((value - from) / length) * full : 0);
    return [
      share(event.clientX, box.left, box.width, this.element.clientWidth),
      share(event.clientY, box.top, box.height, this.element.clientHeight),
    ];
  }

  /** Pixels of the frame under a pointer. */
  frameAt(event, size) {
    const { scale, x, y } = this.transform(size);
    const [left, top] = this.local(event);
    return [(left - x) / scale, (top - y) / scale];
  }

  /** Zoom by a factor; what is at CSS pixels `around` stays there. */
  zoomBy(factor, around = [this.element.clientWidth / 2, this.element.clientHeight / 2]) {
    const zoom = Math.min(Math.max(this.zoom * factor, 0.25), 32);
    const change = zoom / this.zoom;
    const middle = [this.element.clientWidth / 2, this.element.clientHeight / 2];
    this.shift = this.shift.map((shift, a) => (around[a] - middle[a]) * (1 - change) + shift * change);
    this.zoom = zoom;
  }

  /** The whole frame again. */
  fit() {
    this.zoom = 1;
    this.shift = [0, 0];
  }

  /** A context in CSS pixels, cleared, of a canvas as sharp as the screen shows it. */
  begin() {
    const [wide, high] = [this.element.clientWidth, this.element.clientHeight];
    if (!wide || !high) return null;
    const most = MOST_PIXELS / Math.max(wide, high);
    const ratio = Math.min(Math.max(window.devicePixelRatio * this.magnified, 0.5), most);
    const [width, height] = [Math.round(wide * ratio), Math.round(high * ratio)];
    if (this.canvas.width !== width) this.canvas.width = width;
    if (this.canvas.height !== height) this.canvas.height = height;
    const context = this.canvas.getContext("2d");
    context.setTransform(width / wide, 0, 0, height / high, 0, 0);
    context.clearRect(0, 0, wide, high);
    return context;
  }

  /** What `draw(context)` draws, drawn again only when an entry of the list `key` is another than before. */
  keep(context, key, draw) {
    const { width, height } = this.canvas;
    const now = [width, height, ...key];
    if (now.length !== this.kept?.length || now.some((entry, i) => entry !== this.kept[i])) {
      this.kept = now;
      this.layer ??= document.createElement("canvas");
      Object.assign(this.layer, { width, height }); // empties it
      const own = this.layer.getContext("2d");
      own.setTransform(context.getTransform());
      draw(own);
    }
    context.save();
    context.resetTransform();
    context.drawImage(this.layer, 0, 0);
    context.restore();
  }
}
