"""What a file is by its first bytes, where no decoder makes anything of it."""

from __future__ import annotations

import re

from inference.places import UnreadableImage

READ = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "PPM")  # by Pillow's names; DICOM beside them
# how files begin. Of the formats that are read: there, a header that cannot be read is damage
STARTS = {
    "JPEG": rb"\xff\xd8\xff",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "BMP": rb"BM....\0\0\0\0",
    "GIF": rb"GIF8[79]a",
    "TIFF": rb"II[*+]\0|MM\0[*+]",
    "WebP": rb"RIFF....WEBP",
    "AVIF": rb"....ftypavi[fs]",
    "PPM": rb"P[1-6]\s",
}
# of other formats of images
OTHERS = {
    "JPEG 2000": rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51",
    "JPEG XL": rb"\0\0\0\x0cJXL |\xff\x0a",
    "HEIC": rb"....ftyp(?:hei|hev|mif1|msf1)",
    "Photoshop": rb"8BPS",
    "OpenEXR": rb"v/1\x01",
}


def unopened(data: bytes) -> UnreadableImage:
    """Why Pillow makes nothing of the file."""
    from PIL import features

    form = _started(data, STARTS)
    if form == "AVIF" and not features.check("avif"):
        return UnreadableImage("unsupported", "AVIF: this Pillow was built without it; pip's own builds have it")
    if form == "WebP" and len(data) < 8 + int.from_bytes(data[4:8], "little"):
        return UnreadableImage("truncated", f"{len(data):,} bytes of {8 + int.from_bytes(data[4:8], 'little'):,}")
    if form:
        return UnreadableImage("damaged", f"it begins like {form}, but its header cannot be read")
    if other := _started(data, OTHERS):
        return UnreadableImage("unsupported", f"{other}: read are {', '.join((*READ, 'DICOM'))}")
    return UnreadableImage("not an image", _looks_like(data))


def _started(data: bytes, known: dict[str, bytes]) -> str:
    """The format that a file begins like, '' for none of those known."""
    return next((name for name, start in known.items() if re.match(start, data, re.DOTALL)), "")


def _looks_like(data: bytes) -> str:
    start = data[:200].lstrip().lower()
    if start.startswith((b"<!doctype", b"<html", b"<?xml", b"<svg")):
        return "a web page or XML"
    if start.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer: run `git lfs pull`"
    if start.startswith((b"%!ps", b"%pdf")):
        return "PostScript or PDF"
    return f"no known image format ({', '.join((*READ, 'DICOM'))})"
