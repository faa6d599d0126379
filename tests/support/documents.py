"""Documents, good and hostile, made anew for each test."""

import io
import zipfile
import zlib

import docx
from reportlab.pdfgen.canvas import Canvas

CONTENT_TYPES = "[Content_Types].xml"


def pdf(*pages: str, password: str | None = None) -> bytes:
    out = io.BytesIO()
    canvas = Canvas(out, encrypt=password)
    for page in pages:
        canvas.drawString(72, 720, page)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def scanned_pdf() -> bytes:
    """A page that is a drawing."""
    out = io.BytesIO()
    canvas = Canvas(out)
    canvas.rect(72, 72, 200, 200, fill=1)
    canvas.showPage()
    canvas.save()
    return out.getvalue()


def pdf_bomb() -> bytes:
    """One page whose content unpacks to 100 MB."""
    packed = zlib.compress(b"BT (x) Tj ET\n" * 8_000_000, 9)
    parts = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 100]/Contents 4 0 R/Resources<<>>>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n" % len(packed) + packed + b"\nendstream",
    ]
    out = bytearray(b"%PDF-1.4\n")
    places = []
    for number, part in enumerate(parts, 1):
        places.append(len(out))
        out += b"%d 0 obj\n" % number + part + b"\nendobj\n"
    start = len(out)
    out += b"xref\n0 5\n0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % p for p in places)
    out += b"trailer<</Size 5/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % start
    return bytes(out)


def word() -> bytes:
    document = docx.Document()
    document.add_heading("Umsatz für März", 1)
    document.add_paragraph("Первый абзац")
    table = document.add_table(rows=1, cols=2)
    table.cell(0, 0).text, table.cell(0, 1).text = "left", "right"
    document.add_paragraph("末尾")
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def word_with(part: str, content: bytes, *, declared: int | None = None) -> bytes:
    """The document with one part exchanged; `declared` is what the directory says of its size."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(word())) as source,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            target.writestr(name, content if name == part else source.read(name))
        if declared is not None:
            target.getinfo(part).file_size = declared
    return out.getvalue()


def word_bomb() -> bytes:
    return word_with("word/document.xml", b"<w/>" + b" " * 100_000_000)


def word_that_lies() -> bytes:
    return word_with("word/document.xml", b"<w/>" + b" " * 100_000_000, declared=1000)


def word_with_laughs() -> bytes:
    """Entities of entities: ten to the ninth when expanded."""
    lines = ['<!ENTITY a0 "ha">', *(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 10))]
    name = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    xml = (
        f'<?xml version="1.0"?><!DOCTYPE d [{"".join(lines)}]><w:document xmlns:w="{name}"><w:body><w:p>'
        "<w:r><w:t>&a9;</w:t></w:r></w:p></w:body></w:document>"
    )
    return word_with("word/document.xml", xml.encode())
