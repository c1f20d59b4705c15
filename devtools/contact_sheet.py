"""A labelled contact sheet of a video: up to 64 frames in a numbered grid. Runs inside the environment.

python contact_sheet.py VIDEO.mp4 SHEET.png [TITLE]
"""

import math
import sys
from pathlib import Path

import av
from PIL import Image, ImageDraw, ImageFont

MOST = 64
GAP, LABEL, CELL = 6, 16, 256


def read_frames(path: Path) -> tuple[list[Image.Image], float]:
    """All frames of a video as RGB images, and its frames a second."""
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        return [frame.to_image() for frame in video.decode(stream)], float(stream.average_rate or 0)


def choose(count: int, most: int = MOST) -> list[int]:
    """Indices of at most `most` frames, evenly spread, the first and the last among them."""
    if count <= most:
        return list(range(count))
    return [round(i * (count - 1) / (most - 1)) for i in range(most)]


def draw_sheet(frames: list[Image.Image], title: str) -> Image.Image:
    """The sheet: a title line, then the frames in reading order, each under its index."""
    chosen = choose(len(frames))
    scale = min(1.0, CELL / max(frames[0].size))
    width, height = (max(1, round(side * scale)) for side in frames[0].size)
    columns = max(1, math.ceil(math.sqrt(len(chosen) * height / width)))
    rows = math.ceil(len(chosen) / columns)
    size = (GAP + columns * (width + GAP), GAP + LABEL + rows * (LABEL + height + GAP))
    sheet = Image.new("RGB", size, (24, 24, 24))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default()
    draw.text((GAP, GAP // 2), title.encode("latin-1", "replace").decode("latin-1"), (235, 235, 235), font)
    for place, index in enumerate(chosen):
        x = GAP + place % columns * (width + GAP)
        y = GAP + LABEL + place // columns * (LABEL + height + GAP)
        draw.text((x, y), str(index), (160, 160, 160), font)
        sheet.paste(frames[index].resize((width, height), Image.LANCZOS), (x, y + LABEL))
    return sheet


def main(arguments: list[str]) -> None:
    """Write the sheet of the video named on the command line."""
    video, target = Path(arguments[0]), Path(arguments[1])
    frames, rate = read_frames(video)
    if not frames:
        sys.exit(f"{video} has no frames")
    details = f"{len(frames)} frames, {frames[0].width}x{frames[0].height}, {rate:g} fps"
    draw_sheet(frames, "  ".join([*arguments[2:3], f"({details})"])).save(target)
    print(details)


if __name__ == "__main__":
    main(sys.argv[1:])
