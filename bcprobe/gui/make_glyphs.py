"""Draw the glyph atlas ``glyphs.png`` (run once; the atlas is part of the package).

Text is composed from this atlas and not from a font at run time, so that frames are the
same bytes whatever version of FreeType a machine has. The face is DejaVu Sans Mono, which
comes with matplotlib. Usage: ``python -m bcprobe.gui.make_glyphs``.
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from bcprobe.gui.text import ATLAS, CHARACTERS, FONTS, ROW

FACES = {"heading": "DejaVuSansMono.ttf", "label": "DejaVuSansMono-Bold.ttf"}


def draw_atlas(folder: Path) -> Image.Image:
    """Grey coverage (0-255) of every character: a row per font, a cell per character."""
    widest = max(font.advance for font in FONTS.values())
    atlas = Image.new("L", (widest * len(CHARACTERS), ROW * len(FONTS)))
    for row, (name, font) in enumerate(FONTS.items()):
        face = ImageFont.truetype(str(folder / FACES[name]), font.size)
        for column, character in enumerate(CHARACTERS):
            cell = Image.new("L", (font.advance, ROW))
            ImageDraw.Draw(cell).text((0, font.baseline), character, 255, face, anchor="ls")
            atlas.paste(cell, (column * font.advance, row * ROW))
    return atlas


if __name__ == "__main__":
    import matplotlib

    draw_atlas(Path(matplotlib.get_data_path()) / "fonts" / "ttf").save(ATLAS, optimize=True)
