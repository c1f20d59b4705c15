"""`python -m core.data FOLDER VIDEOS...`: make a folder of training clips with tracks from real videos.

VIDEOS are files or folders. A text file beside a video, of the same name, is its caption.
"""

import argparse
from pathlib import Path

from ..trajectory.tracker import track_points
from .cotracker import CoTracker
from .curation import Curation, curate
from .cut_detection import DETECTORS
from .video import find_videos


def parse(arguments=None):
    """Command line -> namespace; its defaults are the paper's."""
    parser = argparse.ArgumentParser(
        prog="dev.py curate", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where the clips go")
    parser.add_argument("videos", nargs="+", help="files or folders")
    own = Curation()
    parser.add_argument("--size", type=int, nargs=2, default=own.size, metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--frames", type=int, default=own.frames, help="of a clip")
    parser.add_argument(
        "--strides", type=int, nargs=2, default=own.strides, metavar=("LEAST", "MOST"), help="frames to go on"
    )
    parser.add_argument("--drop", type=float, default=own.drop, help="share left out for moving least")
    parser.add_argument("--grid", type=int, default=own.grid, help="points a row and column to follow")
    parser.add_argument("--larger", action="store_true", help="take videos that must be made larger, too")
    parser.add_argument("--detector", choices=DETECTORS, default=own.detector, help="of cuts")
    parser.add_argument("--cotracker", type=Path, help="local copy of CoTracker, instead of OpenCV")
    parser.add_argument("--seed", type=int, default=own.seed)
    return parser.parse_args(arguments)


def main(arguments=None):
    """Curate."""
    options = parse(arguments)
    names = ("frames", "drop", "grid", "larger", "detector", "seed")
    rest = {name: getattr(options, name) for name in names}
    how = Curation(tuple(options.size), strides=tuple(options.strides), **rest)
    tracker = CoTracker(options.cotracker) if options.cotracker else track_points
    curate(find_videos(*options.videos), options.folder, how, tracker)


if __name__ == "__main__":
    main()
