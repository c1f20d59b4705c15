"""Write the pictures of editors and templates in `docs/images`, from screenshots that the browser tests took.

    CHOREO_PICTURES=FOLDER python dev.py test -k web
    python -m devtools.pictures FOLDER

A template whose workflow saves no clip to be its thumbnail gets a small picture of its graph.
"""

import sys
from pathlib import Path

from PIL import Image

from .contact_sheet import CELL

ROOT = Path(__file__).resolve().parent.parent
IMAGES, WORKFLOWS = ROOT / "docs" / "images", ROOT / "workflows"
WIDTH, QUALITY = 1200, 60  # all pictures together stay under 1 MB
SUFFIX = "-newer"  # the editor version that is shown


def write(source: Image.Image, target: Path, width: int) -> None:
    """Write a picture of at most this width, in the format of the target's name."""
    scale = min(1, width / source.width)
    size = (round(source.width * scale), round(source.height * scale))
    options = {"method": 6} if target.suffix == ".webp" else {"optimize": True}
    source.resize(size, Image.LANCZOS).save(target, quality=QUALITY, **options)


def main(folder: Path) -> None:
    """Write all pictures that the folder has screenshots for."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for path in sorted(folder.glob(f"*{SUFFIX}.png")):
        name = path.stem.removesuffix(SUFFIX)
        picture = Image.open(path).convert("RGB")
        write(picture, IMAGES / f"{name}.webp", WIDTH)
        template = name.removeprefix("template-")
        for stem in (template, f"public_{template}"):  # the twin has the same graph
            thumbnail = WORKFLOWS / f"{stem}.jpg"
            if thumbnail.with_suffix(".json").exists() and not thumbnail.exists():
                write(picture, thumbnail, 2 * CELL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
