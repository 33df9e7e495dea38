"""Cuts synthetic sprites out of four kinds of background and prints how near the truth it comes.

    python -m bench.cutout [--each 10] [--size 512] [--weights u2netp.onnx | --rembg u2netp]

Sprites and seeds are fixed; IoU is of the pixels more than half opaque, the error that of alpha.
"""

import argparse
import resource
import statistics
import time
from pathlib import Path

import numpy as np

from imagemill.transparency import Segmenter, cut_out
from tests.unit import planted


def main() -> None:
    parser = argparse.ArgumentParser(prog="bench.cutout", description=__doc__)
    parser.add_argument("--each", type=int, default=10, help="sprites for each kind of background")
    parser.add_argument("--size", type=int, default=512, help="side in pixels")
    parser.add_argument("--weights", type=Path, help="u2netp.onnx, run by onnxruntime")
    parser.add_argument("--rembg", help="name of a model that rembg has")
    options = parser.parse_args()
    segmenter = chosen(options)
    print(
        f"{'background':12}{'method':22}{'IoU mean':>9}{'worst':>8}{'alpha error':>12}{'s each':>8}"
    )
    for kind in planted.BACKDROPS:
        show(kind, [measured(kind, i, options.size, segmenter) for i in range(options.each)])
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak RSS {peak_mb:.0f} MB, {options.size} px, {4 * options.each} sprites")


def chosen(options: argparse.Namespace) -> Segmenter | None:
    if options.weights:
        from imagemill.transparency_u2net import U2NetSegmenter

        return U2NetSegmenter(options.weights)
    if options.rembg:
        from imagemill.transparency_rembg import RembgSegmenter

        return RembgSegmenter(options.rembg)
    return None


def measured(kind, index, size_px, segmenter):
    truth, picture = planted.on_backdrop(kind, index, size_px=size_px)
    start = time.perf_counter()
    cut = cut_out(picture, segmenter)
    seconds = time.perf_counter() - start
    error = np.abs(cut.picture[..., 3].astype(float) - truth[..., 3]).mean() / 255
    return planted.iou(cut.picture, truth), error, seconds, cut.method


def show(kind, rows):
    ious, errors, seconds, methods = zip(*rows, strict=True)
    how = ", ".join(f"{methods.count(m)} {m}" for m in sorted(set(methods)))
    print(
        f"{kind:12}{how:22}{statistics.mean(ious):9.4f}{min(ious):8.3f}"
        f"{statistics.mean(errors):12.4f}{statistics.median(seconds):8.2f}"
    )


if __name__ == "__main__":
    main()
