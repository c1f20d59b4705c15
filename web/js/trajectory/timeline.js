/** The clip under the stage: play, scrub, and the keys of the active track in time. */

import { h, iconButton } from "../ui/dom.js";
import { keyLane, scrubber } from "../ui/frames.js";
import { t } from "../ui/language.js";
import { Selection } from "../model/selection.js";
import { retime } from "./actions.js";

const round2 = (value) => Math.round(value * 100) / 100;

/** The timeline of a state. */
export function timeline(state) {
  const play = iconButton("play", t("Play (Space)"), () => state.play());
  const scrub = scrubber((frame) => state.goTo(frame));
  const lane = keyLane(laneActions(state));
  lane.setAttribute("aria-label", t("Keys of the active track"));
  const element = h(
    "div",
    { class: "choreo-timeline" },
    play,
    h("div", { class: "choreo-lanes" }, scrub, lane),
  );
  element.update = () => {
    play.update({ pressed: Boolean(state.playing), shows: state.playing ? "pause" : "play" });
    scrub.update(state.frame, state.frames);
    lane.update(keysOf(state), state.frames);
  };
  return element;
}

function laneActions(state) {
  let base = null;
  const from = () => (base ??= state.doc);
  return {
    select: (i) => state.select(Selection.of(state.active, [i])),
    drag: (i, frame, done) => {
      if (frame === null) state.restore();
      else {
        state.doc = from();
        const doc = retime(state, i, frame);
        if (done) state.commit(doc);
        else state.preview(doc);
      }
      if (done) base = null;
    },
    nudge: (i, by) => {
      const frame = Math.round(state.sampledTrack.frames[i]) + by;
      state.commit(retime(state, i, Math.max(frame, 0)));
    },
    release: (i) => state.commit(retime(state, i, null)),
    remove: (i) => state.commit(retime(state, i, null)),
  };
}

/** Keys where the points of the active track are reached; filled where the user said when. */
function keysOf(state) {
  if (!state.sampledTrack) return [];
  return state.track.points.map((point, i) => {
    const frame = state.sampledTrack.frames[i];
    const fixed = point.frame != null;
    const says = fixed
      ? t("Point {number}: frame {frame}", { number: i + 1, frame: round2(frame) })
      : t("Point {number}: about frame {frame}, not fixed", { number: i + 1, frame: round2(frame) });
    return {
      frame,
      kind: fixed ? "fixed" : "free",
      label: says,
      selected: state.selection.has(state.active, i),
    };
  });
}
