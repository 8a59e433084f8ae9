"""Compares results of conversions with what independent decoders read from their sources.

Reads lines from the file of the first argument, fields separated by tabs:

    exact    SOURCE.png  RESULT       every pixel, at the depth that the result can hold; read by pypng, tifffile and Pillow
    upright  SOURCE      RESULT       the same scene the same way up: SOURCE as a viewer shows it
    colour   SOURCE      RESULT.png   CIEDE2000 between RESULT and SOURCE through its profile by Little CMS
    decoded  SOURCE.jpg  RESULT.png   differences to the pixels that libjpeg-turbo decodes

Prints a line for each file that is out of bounds, then figures for each kind. Exit code 1 if any is.
"""

import collections
import io
import sys

import numpy
import png
import tifffile
from PIL import Image, ImageCms, ImageOps

Image.MAX_IMAGE_PIXELS = None

# CIEDE2000 of every pixel; of 95 in 100 after JPEG and AVIF, which change the edges between colours.
MOST_DELTA_E = 2.0
# Little CMS then computes every colour, and makes no table of results first.
NO_OPTIMIZATION = 0x0100
# Inverse cosine transforms may differ by one step (ITU-T T.83), and colours from them by a few.
MOST_DECODED = 4
MOST_DECODED_MEAN = 0.5
# Average difference of 255 to the upright picture: compression and few colours make it a little, another orientation tens.
MOST_UPRIGHT = 8.0


def read_png(path):
    """Values as stored scaled to the full range, as (height, width, 4) of 8 or 16 bit RGBA."""
    reader = png.Reader(filename=path)
    width, height, rows, info = reader.read()
    depth = info["bitdepth"]
    values = numpy.vstack([numpy.asarray(row, dtype=numpy.uint32) for row in rows]).reshape(height, width, info["planes"])
    # Other kinds may have a palette, too: a suggestion for screens of few colours.
    if reader.color_type == 3:
        palette = numpy.array([tuple(colour) + (255,) * (4 - len(colour)) for colour in info["palette"]], dtype=numpy.uint16)
        return palette[values[:, :, 0]], 8
    full = (1 << depth) - 1
    alpha = values[:, :, -1:] if info["alpha"] else numpy.full((height, width, 1), full)
    colour = values[:, :, :-1] if info["alpha"] else values
    transparent = getattr(reader, "transparent", None)
    if transparent is not None and not info["alpha"]:
        key = numpy.array(transparent).reshape(-1)
        alpha = numpy.where((colour == key).all(axis=-1, keepdims=True), 0, full)
    if colour.shape[2] == 1:
        colour = colour.repeat(3, axis=2)
    rgba = numpy.concatenate([colour, alpha], axis=2)
    if depth < 8:
        return (rgba * 255 // full).astype(numpy.uint16), 8
    return rgba.astype(numpy.uint16), depth


def read_result(path):
    """As read_png, whatever the format."""
    if path.endswith(".png"):
        return read_png(path)
    if path.endswith(".tiff"):
        values = tifffile.imread(path)
        depth = 16 if values.dtype == numpy.uint16 else 8
        if values.ndim == 2:
            values = values[:, :, None]
        full = (1 << depth) - 1
        opaque = numpy.full(values.shape[:2] + (1,), full)
        parts = {1: lambda v: [v, v, v, opaque], 2: lambda v: [v[:, :, :1]] * 3 + [v[:, :, 1:]], 3: lambda v: [v, opaque], 4: lambda v: [v]}
        return numpy.concatenate(parts[values.shape[2]](values), axis=2).astype(numpy.uint16), depth
    with Image.open(path) as image:
        return numpy.asarray(image.convert("RGBA"), dtype=numpy.uint16), 8


def exact(source, result):
    expected, depth = read_png(source)
    found, found_depth = read_result(result)
    if depth == 16 and found_depth == 8:
        expected = (expected.astype(numpy.uint32) + 128) // 257
        depth = 8
    if depth == 8 and found_depth == 16:
        expected = expected * 257
        depth = 16
    full = (1 << depth) - 1
    if (found[:, :, 3] == full).all() and not (expected[:, :, 3] == full).all():
        # The format has no transparency: onto white.
        alpha = expected[:, :, 3:].astype(numpy.float64) / full
        onto_white = expected[:, :, :3] * alpha + full * (1 - alpha)
        difference = numpy.abs(found[:, :, :3] - onto_white).max()
        # Half a step is rounding, either way.
        return difference if difference > 0.5 + 1e-9 else 0.0, difference <= 0.5 + 1e-9
    if expected.shape != found.shape:
        return 255.0, False
    # What is fully transparent has no colour that anybody sees, but it is kept all the same.
    difference = numpy.abs(expected.astype(int) - found.astype(int)).max()
    return float(difference), difference == 0


def as_rgb(path):
    with Image.open(path) as image:
        return numpy.asarray(ImageOps.exif_transpose(image).convert("RGB"), dtype=numpy.float64)


def upright(source, result):
    expected, found = as_rgb(source), as_rgb(result)
    if expected.shape != found.shape:
        return 255.0, False
    difference = numpy.abs(expected - found).mean()
    return difference, difference <= MOST_UPRIGHT


def decoded(source, result):
    with Image.open(source) as image:
        expected = numpy.asarray(ImageOps.exif_transpose(image).convert("RGB"), dtype=int)
    found = numpy.asarray(Image.open(result).convert("RGB"), dtype=int)
    if expected.shape != found.shape:
        return 255.0, False
    difference = numpy.abs(expected - found)
    within = difference.max() <= MOST_DECODED and difference.mean() <= MOST_DECODED_MEAN
    return float(difference.max()), within


def lab(rgb):
    """CIE L*a*b* of sRGB (IEC 61966-2-1, its primaries adapted to D50)."""
    values = numpy.asarray(rgb, dtype=numpy.float64) / 255
    light = numpy.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    primaries = numpy.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71687, 0.06061], [0.01392, 0.09708, 0.71410]])
    relative = light @ primaries.T / primaries.sum(axis=1)
    x, y, z = numpy.moveaxis(numpy.where(relative > (6 / 29) ** 3, numpy.cbrt(relative), relative * 841 / 108 + 4 / 29), -1, 0)
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def delta_e(one, other):
    """CIEDE2000 (Sharma, Wu, Dalal 2005), all weights 1."""
    (l1, a1, b1), (l2, a2, b2) = one, other
    mean_chroma = (numpy.hypot(a1, b1) + numpy.hypot(a2, b2)) / 2
    grey = 0.5 * (1 - numpy.sqrt(mean_chroma**7 / (mean_chroma**7 + 25.0**7)))
    a1, a2 = a1 * (1 + grey), a2 * (1 + grey)
    c1, c2 = numpy.hypot(a1, b1), numpy.hypot(a2, b2)
    h1, h2 = (numpy.degrees(numpy.arctan2(b, a)) % 360 for a, b in ((a1, b1), (a2, b2)))
    colourless = c1 * c2 == 0
    turn = h2 - h1
    turn = numpy.where(turn > 180, turn - 360, numpy.where(turn < -180, turn + 360, turn))
    turn = numpy.where(colourless, 0, turn)
    hue_difference = 2 * numpy.sqrt(c1 * c2) * numpy.sin(numpy.radians(turn / 2))
    total = h1 + h2
    apart = numpy.abs(h1 - h2) > 180
    hue = numpy.where(apart, numpy.where(total < 360, (total + 360) / 2, (total - 360) / 2), total / 2)
    hue = numpy.where(colourless, total, hue)
    lightness, chroma = (l1 + l2) / 2, (c1 + c2) / 2
    cosine = lambda factor, offset: numpy.cos(numpy.radians(factor * hue + offset))
    weight = 1 - 0.17 * cosine(1, -30) + 0.24 * cosine(2, 0) + 0.32 * cosine(3, 6) - 0.20 * cosine(4, -63)
    scale_l = 1 + 0.015 * (lightness - 50) ** 2 / numpy.sqrt(20 + (lightness - 50) ** 2)
    scale_c, scale_h = 1 + 0.045 * chroma, 1 + 0.015 * chroma * weight
    rotation = -numpy.sin(numpy.radians(60 * numpy.exp(-(((hue - 275) / 25) ** 2)))) * 2
    rotation *= numpy.sqrt(chroma**7 / (chroma**7 + 25.0**7))
    parts = (l2 - l1) / scale_l, (c2 - c1) / scale_c, hue_difference / scale_h
    return numpy.sqrt(parts[0] ** 2 + parts[1] ** 2 + parts[2] ** 2 + rotation * parts[1] * parts[2])


def colour(source, result):
    with Image.open(source) as image:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        intent = ImageCms.Intent.PERCEPTUAL if image.mode == "CMYK" else ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), image.mode, "RGB", intent, NO_OPTIMIZATION)
        expected = ImageCms.applyTransform(image, transform)
    found = Image.open(result).convert("RGB")
    if expected.size != found.size:
        return 100.0, False
    difference = delta_e(lab(expected), lab(found))
    largest = numpy.percentile(difference, 95 if source.endswith((".jpg", ".avif")) else 100)
    print(f"colour {source.rsplit('/', 1)[-1]}: average {difference.mean():.2f}, largest {difference.max():.2f}")
    return float(largest), largest <= MOST_DELTA_E


KINDS = {"exact": exact, "upright": upright, "colour": colour, "decoded": decoded}


def main(path):
    figures, failed = collections.defaultdict(list), 0
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            kind, source, result = line.rstrip("\n").split("\t")
            try:
                figure, good = KINDS[kind](source, result)
            except Exception as error:  # noqa: BLE001: a file that cannot be read is a difference like any other
                figure, good = float("inf"), False
                print(f"{kind} {result}: {type(error).__name__}: {error}")
            figures[kind].append(figure)
            if not good:
                failed += 1
                print(f"{kind} {source} -> {result}: {figure:.2f}")
    for kind, values in sorted(figures.items()):
        print(f"{kind}: {len(values)} files, largest figure {max(values):.2f}, average {sum(values) / len(values):.3f}")
    print(f"{failed} out of bounds")
    return 1 if failed or not figures else 0


sys.exit(main(sys.argv[1]))
