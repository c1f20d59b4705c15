/** Which points are selected: places in a track's points, by the track's place. Never changed in place. */

const NONE = new Set();

export class Selection {
  constructor(tracks = new Map()) {
    this.tracks = tracks;
  }

  /** Points of one track. */
  static of(track, points) {
    return new Selection(new Map([[track, new Set(points)]]));
  }

  /** All points of all tracks that can be changed. */
  static all(doc) {
    const open = doc.tracks
      .map((track, i) => [i, track])
      .filter(([, track]) => !track.locked && track.visible !== false);
    return new Selection(new Map(open.map(([i, track]) => [i, new Set(track.points.keys())])));
  }

  /** Places of the selected points of one track. */
  of(track) {
    return this.tracks.get(track) ?? NONE;
  }

  has(track, point) {
    return this.of(track).has(point);
  }

  get size() {
    let count = 0;
    for (const points of this.tracks.values()) count += points.size;
    return count;
  }

  /** [track, point] of each, in order. */
  get list() {
    return [...this.tracks.keys()]
      .sort((a, b) => a - b)
      .flatMap((t) => [...this.of(t)].sort((a, b) => a - b).map((p) => [t, p]));
  }

  /** With these points as well. */
  plus(pairs) {
    const tracks = new Map([...this.tracks].map(([track, points]) => [track, new Set(points)]));
    for (const [track, point] of pairs) {
      if (!tracks.has(track)) tracks.set(track, new Set());
      tracks.get(track).add(point);
    }
    return new Selection(tracks);
  }

  /** With this point when it was not, without it when it was. */
  toggled(track, point) {
    if (!this.has(track, point)) return this.plus([[track, point]]);
    const rest = this.list.filter(([t, p]) => t !== track || p !== point);
    return new Selection().plus(rest);
  }

  /** Those that a document has. */
  within(doc) {
    return new Selection().plus(this.list.filter(([t, p]) => doc.tracks[t]?.points[p]));
  }
}
