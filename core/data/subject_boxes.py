"""Which clips of a folder show a subject that their captions name, and where: boxes from several sources.

The published data set of VideoBooth: a filter of key words on captions, a detector on every tenth frame. Here
the detector may be face detection, a model of transformers in a local folder, masks, or boxes that are known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import torch

from ..refine.boxes import Box, boxes_of_masks, union
from ..refine.detect import FaceDetector
from .video import UnreadableError, read_caption, read_frames

DATASET = "dataset.jsonl"
ANYTHING = "*"  # label of a find that may be any subject
FACE = "face"
UNREADABLE = "unreadable"
EVERY = 10  # frames from one that is looked at to the next
KEYWORDS = """person = person, face: man, woman, person, boy, girl, child
dog = dog: dog, dogs, puppy
cat = cat: cat, cats, kitten
car = car, truck: car, cars, truck
horse = horse: horse, horses
bear = bear: bear, bears, panda
elephant = elephant: elephant, elephants
bird = bird: bird, birds"""
_LINE = re.compile(r"\s*([^=:]+?)\s*(?:=\s*([^:]*?)\s*)?:\s*(.+?)\s*")


class Subject(NamedTuple):
    """A kind of subject: its name, the detector's labels for it, and the words of captions that name it."""

    name: str
    labels: tuple[str, ...]
    words: tuple[str, ...]


class Found(NamedTuple):
    """One find in a frame."""

    label: str
    score: float
    box: Box


class Finder(Protocol):
    """Anything that finds subjects; `path` is the video's."""

    def __call__(self, path: Path, number: int, frame: np.ndarray) -> list[Found]:
        """Finds in frame `number`, (H, W, 3) uint8."""


def parse_keywords(text: str) -> tuple[Subject, ...]:
    """Subjects from lines such as "person = face: man, woman"; labels are the name where none are given.

    Raises ValueError that shows the first line it cannot take.
    """
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise ValueError(
                f"keywords line {number}: expected 'name = labels: words' as in 'person = face: man, woman', "
                f"got '{line.strip()}'"
            )
        labels = _words(match[2]) if match[2] is not None else (match[1].lower(),)
        found.append(Subject(match[1], labels, _words(match[3])))
    if not found:
        raise ValueError("keywords is empty: write for example 'dog: dog, puppy'")
    return tuple(found)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip().lower() for word in text.split(",") if word.strip())


def subject_of(caption: str, subjects: Iterable[Subject]) -> tuple[Subject, str] | None:
    """The subject that a caption names first, and the word as the caption has it; None when it names none."""
    best = None
    for subject in subjects:
        for word in subject.words:
            match = re.search(rf"\b{re.escape(word)}\b", caption, re.IGNORECASE)
            if match and (best is None or match.start() < best[0]):
                best = (match.start(), subject, match.group())
    return None if best is None else best[1:]


def face_finder(threshold: float) -> Finder:
    """Faces, by the pack's own detector."""
    detector = FaceDetector(threshold)

    def find(_path: Path, _number: int, frame: np.ndarray) -> list[Found]:
        return [Found(FACE, float(row[4]), Box(*map(float, row[:4]))) for row in detector(frame)]

    return find


def mask_finder(folder: Path) -> Finder:
    """Masks: a video or picture of each clip's name in `folder`, white on the subject.

    The finder raises ValueError for a mask of another size than its clip, for a video of masks that ends
    before it (a picture is the mask of all frames), and for one that cannot be read.
    """
    masks: dict[str, list[np.ndarray]] = {}

    def find(path: Path, number: int, frame: np.ndarray) -> list[Found]:
        if path.stem not in masks:
            masks.clear()  # of the clip before
            masks[path.stem] = _masks_of(path, Path(folder))
        own = masks[path.stem]
        if not own:
            return []
        mask = _mask_of(path, number, own, frame.shape[:2])
        rows = boxes_of_masks(torch.from_numpy(mask[None] / 255.0))[0]
        return [Found(ANYTHING, 1.0, union(rows))] if len(rows) else []

    return find


def _masks_of(path: Path, folder: Path) -> list[np.ndarray]:
    """The masks of a clip, (H, W) each; none where the folder has no file of its name."""
    files = sorted(file for file in folder.iterdir() if file.stem == path.stem and file.is_file())
    try:
        return [mask[..., :3].max(-1) for mask in read_frames(files[0])] if files else []
    except UnreadableError as error:
        raise UnreadableError(f"the mask {error}") from error


def _mask_of(path: Path, number: int, own: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The mask of frame `number`, which has the `shape` (H, W), of the clip's `own`."""
    if 1 < len(own) <= number:
        raise ValueError(
            f"The mask of '{path.name}' has {len(own)} frames, the clip more than {number}; give both as many"
        )
    mask = own[min(number, len(own) - 1)]
    if mask.shape != shape:
        size = f"{mask.shape[1]}x{mask.shape[0]}"
        raise ValueError(
            f"The mask of '{path.name}' is {size}, the clip {shape[1]}x{shape[0]}; give both one size"
        )
    return mask


def known_finder() -> Finder:
    """Boxes that are known: NAME.boxes.json beside a clip, {frame number: [left, top, right, bottom]}."""

    def find(path: Path, number: int, _frame: np.ndarray) -> list[Found]:
        file = path.with_suffix(".boxes.json")
        known = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        box = known.get(str(number))
        return [Found(ANYTHING, 1.0, Box(*map(float, box)))] if box else []

    return find


def model_finder(folder: Path, threshold: float) -> Finder:
    """An object detector of transformers in a local folder, in the layout of `save_pretrained`."""
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForObjectDetection

    local = {"local_files_only": True}
    model = AutoModelForObjectDetection.from_pretrained(folder, **local).eval()
    processor = AutoImageProcessor.from_pretrained(folder, **local)

    @torch.no_grad()
    def find(_path: Path, _number: int, frame: np.ndarray) -> list[Found]:
        answer = model(**processor(images=Image.fromarray(frame), return_tensors="pt"))
        (rows,) = processor.post_process_object_detection(
            answer, threshold=threshold, target_sizes=[frame.shape[:2]]
        )
        names = [model.config.id2label[int(label)].lower() for label in rows["labels"]]
        scores, boxes = rows["scores"].tolist(), rows["boxes"].tolist()
        return [Found(n, s, Box(*b)) for n, s, b in zip(names, scores, boxes, strict=True)]

    return find


@dataclass(frozen=True)
class Entry:
    """A line of a data set: a clip, its caption, the word of its subject, and boxes by frame number.

    boxes: frame number -> left, top, right, bottom in pixels of `size` (width, height), and score.
    """

    video: str
    text: str
    word: str
    subject: str
    size: tuple[int, int]
    boxes: Mapping[str, tuple[float, ...]]


def make_dataset(
    videos: Iterable[Path],
    folder: Path,
    subjects: tuple[Subject, ...],
    finder: Finder,
    every: int = EVERY,
    report: Callable[[str], None] = print,
) -> dict[str, int]:
    """Write `dataset.jsonl` into `folder`, a line for each clip with caption, subject and a box.

    A video's caption is the text file of its name beside it. Returns how many clips were kept and why others
    were not, those that are no videos or break off among them. Raises ValueError for `every` below 1, and
    what the finder raises.
    """
    if every < 1:
        raise ValueError(f"every is {every}, expected 1 or more frames")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    counts = {"kept": 0, "no caption": 0, "no key word": 0, "no box": 0, UNREADABLE: 0}
    part = folder / f"{DATASET}.part"
    try:
        with part.open("w", encoding="utf-8") as file:
            for video in map(Path, videos):
                why, told, found = _looked_at(video, subjects, finder, every)
                counts[why] += 1
                if found is not None:
                    file.write(json.dumps(asdict(found)) + "\n")
                report(f"{video.name}: {told}")
        part.replace(folder / DATASET)
    except BaseException:  # the user's interrupt as well
        part.unlink(missing_ok=True)
        raise
    return counts


def _looked_at(
    video: Path, subjects: tuple[Subject, ...], finder: Finder, every: int
) -> tuple[str, str, Entry | None]:
    """What a video counts as, what is said of it, and its entry or None."""
    try:
        found = _entry(video, subjects, finder, every)
    except UnreadableError as error:
        return UNREADABLE, f"{UNREADABLE}, {error}", None
    if isinstance(found, str):
        return found, found, None
    return "kept", f"{len(found.boxes)} boxes", found


def _entry(video: Path, subjects: tuple[Subject, ...], finder: Finder, every: int) -> Entry | str:
    """The entry of a video, or why there is none."""
    text = " ".join(read_caption(video).split())
    named = subject_of(text, subjects)
    if named is None:
        return "no key word" if text else "no caption"
    subject, word = named
    boxes, size = {}, (0, 0)
    for index, frame in enumerate(read_frames(video, step=every)):
        size = frame.shape[1], frame.shape[0]
        best = _best(finder(video, index * every, frame), subject, size)
        if best is not None:
            boxes[str(index * every)] = (*(round(edge, 1) for edge in best.box), round(best.score, 3))
    return Entry(str(video.resolve()), text, word, subject.name, size, boxes) if boxes else "no box"


def _best(finds: list[Found], subject: Subject, size: tuple[int, int]) -> Found | None:
    """The find with the highest score among those with the subject's labels."""
    inside = [find._replace(box=find.box.inside(size)) for find in finds]
    fitting = [f for f in inside if f.label in (ANYTHING, *subject.labels) and min(f.box.size) >= 1]
    return max(fitting, key=lambda find: find.score, default=None)


def read_dataset(path: Path) -> Iterator[Entry]:
    """The entries of a data set; raises ValueError with the line number of one that is none."""
    path = Path(path) / DATASET if Path(path).is_dir() else Path(path)
    if not path.is_file():
        raise ValueError(f"There is no data set '{path}'; make one with 'Build Subject Data Set'")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            told = json.loads(line)
            yield Entry(**{**told, "size": tuple(told["size"])})
        except (json.JSONDecodeError, TypeError, KeyError):
            raise ValueError(f"'{path.name}' line {number} is not an entry of a subject data set") from None
