"""The shipped demo weights go back to training parts, and from there to the same files."""

from choreographer.core.training.__main__ import CHECKPOINT, MOTION, main
from choreographer.devtools.pack import ROOT


def test_unpacking_and_exporting_gives_the_same_files(tmp_path, comfy_path):
    main(["unpack", str(tmp_path / "run"), "--from", str(ROOT / "demo")])
    run = str(tmp_path / "run")
    main(["export", str(tmp_path / "demo"), "--from", run, "--autoencoder", run])
    for part in (CHECKPOINT, MOTION):
        assert (tmp_path / "demo" / part).read_bytes() == (ROOT / "demo" / part).read_bytes()
