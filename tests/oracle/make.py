"""Makes pictures whose colours only a colour-managed reader gets right, into the folder of the first argument.

Red, green, blue and dark to light in every combination, as PNG, JPEG, AVIF and TIFF with the profiles of wide-gamut RGB and of CMYK that Debian has.
Bands of one colour are wide enough that what JPEG and its subsampling change stays at their edges.
"""

import pathlib
import sys

import numpy
from PIL import Image

PROFILES = pathlib.Path("/usr/share/color/icc/ghostscript")
RGB_PROFILES = ["a98", "rommrgb", "esrgb"]
# A measured press by L*a*b* of version 2, and simple inks by XYZ and curves of version 4.
INK_PROFILES = ["default_cmyk", "ps_cmyk"]
STEPS = [0, 51, 102, 153, 204, 255]
PATCH_PIXELS = 16


def patches(channels):
    """Every combination of the steps, a patch each, in a picture that is about square."""
    axes = numpy.meshgrid(*([STEPS] * channels), indexing="ij")
    colours = numpy.stack([axis.ravel() for axis in axes], axis=-1).astype(numpy.uint8)
    columns = int(numpy.ceil(len(colours) ** 0.5))
    rows = -(-len(colours) // columns)
    padded = numpy.concatenate([colours, numpy.repeat(colours[-1:], rows * columns - len(colours), axis=0)])
    grid = padded.reshape(rows, columns, channels)
    return grid.repeat(PATCH_PIXELS, axis=0).repeat(PATCH_PIXELS, axis=1)


def main(folder):
    rgb = Image.fromarray(patches(3), "RGB")
    for name in RGB_PROFILES:
        profile = (PROFILES / f"{name}.icc").read_bytes()
        rgb.save(folder / f"{name}.png", icc_profile=profile)
        rgb.save(folder / f"{name}.tif", icc_profile=profile)
        rgb.save(folder / f"{name}.jpg", icc_profile=profile, quality=100, subsampling=0)
        rgb.save(folder / f"{name}.avif", icc_profile=profile, quality=100, subsampling="4:4:4")
    # More ink than a press takes says nothing about pictures.
    inks = patches(4)
    inks = numpy.where(inks.astype(int).sum(axis=-1, keepdims=True) > 3 * 255, 0, inks).astype(numpy.uint8)
    cmyk = Image.fromarray(inks, "CMYK")
    for name in INK_PROFILES:
        profile = (PROFILES / f"{name}.icc").read_bytes()
        cmyk.save(folder / f"{name}.tif", icc_profile=profile)
        cmyk.save(folder / f"{name}.jpg", icc_profile=profile, quality=100, subsampling=0)
    grey = Image.fromarray(numpy.arange(256, dtype=numpy.uint8).repeat(16).reshape(1, -1).repeat(64, axis=0), "L")
    grey.save(folder / "grey.png", icc_profile=(PROFILES / "default_gray.icc").read_bytes())


main(pathlib.Path(sys.argv[1]))
