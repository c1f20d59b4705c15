"""`dev.py dataset FOLDER VIDEOS...`: a list of clips whose captions name a subject, with boxes of it.

Runs inside the environment. VIDEOS are files or folders; a text file beside a video, of the same name, is its
caption. What is found goes to FOLDER/dataset.jsonl, for `dev.py train subjects --records` and the node 'Train
Image Prompt'.
"""

import argparse
import sys
from pathlib import Path

from core.data.subject_boxes import (
    EVERY,
    KEYWORDS,
    face_finder,
    known_finder,
    make_dataset,
    mask_finder,
    model_finder,
    parse_keywords,
)
from core.data.video import find_videos


def parse(arguments=None):
    """Command line -> namespace."""
    parser = argparse.ArgumentParser(
        prog="dev.py dataset", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where dataset.jsonl goes")
    parser.add_argument("videos", nargs="+", help="files or folders")
    parser.add_argument("--keywords", type=Path, help="file of 'name = labels: words' lines")
    finders = parser.add_mutually_exclusive_group()
    finders.add_argument("--known", action="store_true", help="boxes from NAME.boxes.json beside each clip")
    finders.add_argument("--masks", type=Path, help="boxes from masks of the same names in this folder")
    finders.add_argument("--model", type=Path, help="a local folder with an object detector of transformers")
    parser.add_argument("--every", type=int, default=EVERY, help="look at every so many frames")
    parser.add_argument("--threshold", type=float, default=0.6, help="least score of faces and of --model")
    return parser.parse_args(arguments)


def main(arguments=None) -> int:
    """Make the data set; faces are looked for where nothing else is asked."""
    options = parse(arguments)
    if options.known:
        finder = known_finder()
    elif options.masks:
        finder = mask_finder(options.masks)
    elif options.model:
        finder = model_finder(options.model, options.threshold)
    else:
        finder = face_finder(options.threshold)
    keywords = options.keywords.read_text(encoding="utf-8") if options.keywords else KEYWORDS
    videos, subjects = find_videos(*options.videos), parse_keywords(keywords)
    counts = make_dataset(videos, options.folder, subjects, finder, options.every)
    print(", ".join(f"{count} {why}" for why, count in counts.items()))
    return 0 if counts["kept"] else 1


if __name__ == "__main__":
    sys.exit(main())
