/** What the trajectory editor knows: the document, what is selected, the current frame; and how they change. */

import { emptyDocument, isDocument, readText, writeDocument } from "../model/document.js";
import { sampleAll, sampleTrack } from "../model/sample.js";
import { Selection } from "../model/selection.js";
import { TextState } from "../ui/text_state.js";

const DEFAULT_FRAMES = 16;

export class EditorState extends TextState {
  /** `host`: { frameSize() -> [width, height] of the node, store(text) keeps the text, speed() frames a second }. */
  constructor(host) {
    super(host.store);
    this.host = host;
    this.tool = "select";
    this.penCurve = undefined; // of new tracks
    this.growing = false; // the pen adds to the active track
    this.playing = null;
    this.frame = 0;
    this.active = 0;
    this.selection = new Selection();
    this.begin("");
  }

  parse(text) {
    this.readAt = this.host.frameSize();
    return readText(text, { size: this.readAt });
  }

  /** Coordinates in pixels belong to the node's frame: read them again when that has another size. */
  reread() {
    const size = this.host.frameSize();
    if (this.error || String(size) === String(this.readAt)) return;
    this.readAt = size;
    if (isDocument(this.text)) return;
    this.read(this.text);
    this.history.now.doc = this.doc;
  }

  write(doc) {
    return writeDocument(doc);
  }

  empty() {
    return emptyDocument(this.host.frameSize());
  }

  /** Keep selection, active track and frame within the document. */
  settle() {
    this.selection = this.selection.within(this.doc);
    this.active = Math.min(this.active, Math.max(this.doc.tracks.length - 1, 0));
    this.frame = Math.min(this.frame, this.frames - 1);
  }

  /** The frame's [width, height] in pixels. */
  get size() {
    return this.doc.size ?? this.host.frameSize();
  }

  get frames() {
    return Math.max(1, Math.round(this.doc.frames ?? DEFAULT_FRAMES));
  }

  /** The active track, or undefined. */
  get track() {
    return this.doc.tracks[this.active];
  }

  /** All that is drawn, at all frames. */
  get sampled() {
    return sampleAll(this.doc, this.frames, this.size);
  }

  /** The active track's curve, frames of its points, error. */
  get sampledTrack() {
    return this.track?.points.length ? sampleTrack(this.track, this.frames, this.size) : null;
  }

  /** Make a document the text, with these points selected; it always says which frame size it was drawn at. */
  commit(doc, selection = this.selection) {
    const { version, size = this.size, ...rest } = doc;
    if (!this.error) this.selection = selection;
    super.commit({ version, size, ...rest });
  }

  step(by) {
    this.growing = false;
    super.step(by);
  }

  select(selection, active = this.active) {
    this.selection = selection;
    this.active = active;
    this.touch();
  }

  setTool(tool) {
    this.tool = tool;
    this.growing = false;
    this.touch();
  }

  goTo(frame) {
    this.frame = Math.min(Math.max(frame, 0), this.frames - 1);
    this.touch();
  }

  /** Play round and round, or stop. */
  play() {
    const next = () => this.goTo((this.frame + 1) % this.frames);
    if (this.playing) clearInterval(this.playing);
    this.playing = this.playing ? null : setInterval(next, 1000 / this.host.speed());
    this.touch();
  }

  /** End what runs by itself. */
  dispose() {
    if (this.playing) clearInterval(this.playing);
    this.watchers.clear();
  }
}
