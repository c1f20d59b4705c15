/** What the keyframe timeline knows: the document, what is selected, the current frame, the images. */

import { TextState } from "../ui/text_state.js";
import * as model from "./model.js";

export class TimelineState extends TextState {
  /** `host`: { store(text), frames() of the clip, images() -> addresses of the keyframe images }. */
  constructor(host) {
    super(host.store);
    this.host = host;
    this.chosen = { what: "keys", place: 0 };
    this.frame = 0;
    this.begin("");
  }

  parse(text) {
    return model.readTimeline(text);
  }

  write(doc) {
    return model.writeTimeline(doc);
  }

  empty() {
    return model.emptyTimeline();
  }

  settle() {
    this.frame = Math.min(this.frame, this.frames - 1);
  }

  get frames() {
    return Math.max(1, Number(this.host.frames()) || 1);
  }

  get images() {
    return this.host.images();
  }

  /** Image keys as they act. */
  get keys() {
    return model.keysOf(this.doc, this.images.length, this.frames);
  }

  /** The document with its keys written down. */
  get written() {
    return model.withKeys(this.doc, this.images.length, this.frames);
  }

  /** The chosen key or prompt, with all its entries, or undefined. */
  get entry() {
    const { what, place } = this.chosen;
    return what === "keys" ? this.keys[place] : this.doc.prompts[place];
  }

  choose(what, place) {
    this.chosen = { what, place };
    this.touch();
  }

  goTo(frame) {
    this.frame = model.inClip(Math.max(frame, 0), this.frames);
    this.touch();
  }

  /** The document with an entry at a frame. */
  moved(what, place, frame, doc = what === "keys" ? this.written : this.doc) {
    return model.moveEntry(doc, what, place, frame, this.frames);
  }

  /** Change the chosen entry. */
  change(entries) {
    const { what, place } = this.chosen;
    if (this.entry)
      this.commit(model.entryWith(what === "keys" ? this.written : this.doc, what, place, entries));
  }

  /** Add a key or a prompt at the current frame, or at the nearest that is free. */
  add(what) {
    const doc = what === "keys" ? this.written : this.doc;
    const frame = model.freeFrame(doc, what, this.frame, this.frames);
    if (frame === null) return;
    this.chosen = { what, place: doc[what].length };
    this.commit(model.addEntry(doc, what, what === "keys" ? { frame } : { frame, text: "" }));
  }

  remove(what, place) {
    if (this.doc[what][place]) this.commit(model.removeEntry(this.doc, what, place));
  }

  /** Images spread evenly again: no keys say otherwise. */
  spread() {
    this.commit({ ...this.doc, keys: [] });
  }

  dispose() {
    this.watchers.clear();
  }
}
