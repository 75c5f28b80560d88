"""
Factur-X: a PDF/A-3 that says which XML in it is the invoice, and of which profile.

The typesetter attaches the file; what it cannot do is name it in the document's metadata (XMP), as
the standard asks. That is added the way PDF provides for: a new version of the metadata object
behind the file's end, and a table of what changed (ISO 32000-1, 7.5.6).
"""

from __future__ import annotations

import re
from typing import Final

FILE_NAME: Final = "factur-x.xml"
PROFILE: Final = "EN 16931"

_NAMESPACE: Final = "urn:factur-x:pdfa:CrossIndustryDocument:invoice:1p0#"
_PROPERTIES: Final = {
    "DocumentFileName": (FILE_NAME, "Name of the embedded XML invoice file"),
    "DocumentType": ("INVOICE", "Type of the document"),
    "Version": ("1.0", "Version of the standard the XML file follows"),
    "ConformanceLevel": (PROFILE, "Profile of the standard the XML file follows"),
}
_METADATA: Final = re.compile(
    rb"(\d+) 0 obj\s*<<[^>]*/Type\s*/Metadata[^>]*>>\s*stream\r?\n(.*?)\r?\nendstream", re.S
)
_SCHEMAS_END: Final = b"</rdf:Bag></pdfaExtension:schemas>"
_PACKET_END: Final = b"</rdf:RDF>"


def declare(pdf: bytes) -> bytes:
    """
    Args:
        pdf: A PDF/A-3 as the typesetter writes it: plain objects, a table of references, metadata
            that is not compressed and describes its own extensions, the XML attached.

    Returns:
        The same bytes, and behind them the metadata that declare the attachment.
    """
    found = _METADATA.search(pdf)
    assert found is not None, "a PDF/A has metadata in plain text"
    number, packet = int(found[1]), _declared(found[2])
    trailer = pdf[pdf.rindex(b"trailer") :]
    kept = _entry(rb"/Root \d+ 0 R", trailer) + _entry(rb"/Info \d+ 0 R", trailer)
    kept += _entry(rb"/Size \d+", trailer) + _entry(rb"/ID\s*\[.*?\]", trailer)
    before = _entry(rb"\d+", trailer[trailer.index(b"startxref") :])
    head = pdf if pdf.endswith(b"\n") else pdf + b"\n"
    stream = b"<</Length %d/Type/Metadata/Subtype/XML>>\nstream\n%s\nendstream"
    update = b"%d 0 obj\n%s\nendobj\n" % (number, stream % (len(packet), packet))
    table = b"xref\n0 1\n0000000000 65535 f \n%d 1\n%010d 00000 n \n" % (number, len(head))
    end = b"trailer\n<<%s/Prev %s>>\nstartxref\n%d\n%%%%EOF\n"
    return head + update + table + end % (kept, before, len(head) + len(update))


def _entry(pattern: bytes, text: bytes) -> bytes:
    found = re.search(pattern, text, re.S)
    assert found is not None, pattern
    return found[0]


def _declared(packet: bytes) -> bytes:
    """The metadata with our properties, and with the schema PDF/A wants of each extension."""
    assert packet.count(_SCHEMAS_END) == packet.count(_PACKET_END) == 1
    packet = packet.replace(_SCHEMAS_END, _schema().encode() + _SCHEMAS_END)
    return packet.replace(_PACKET_END, _description().encode() + _PACKET_END)


def _schema() -> str:
    properties = "".join(
        '<rdf:li rdf:parseType="Resource">'
        f"<pdfaProperty:name>{name}</pdfaProperty:name>"
        "<pdfaProperty:valueType>Text</pdfaProperty:valueType>"
        "<pdfaProperty:category>external</pdfaProperty:category>"
        f"<pdfaProperty:description>{about}</pdfaProperty:description></rdf:li>"
        for name, (_, about) in _PROPERTIES.items()
    )
    return (
        '<rdf:li rdf:parseType="Resource">'
        "<pdfaSchema:schema>Factur-X PDFA Extension Schema</pdfaSchema:schema>"
        f"<pdfaSchema:namespaceURI>{_NAMESPACE}</pdfaSchema:namespaceURI>"
        "<pdfaSchema:prefix>fx</pdfaSchema:prefix>"
        f"<pdfaSchema:property><rdf:Seq>{properties}</rdf:Seq></pdfaSchema:property></rdf:li>"
    )


def _description() -> str:
    values = "".join(f"<fx:{name}>{value}</fx:{name}>" for name, (value, _) in _PROPERTIES.items())
    return f'<rdf:Description rdf:about="" xmlns:fx="{_NAMESPACE}">{values}</rdf:Description>'
