"""VAST 4.2 documents: each ad wraps the tag that it is asked for at. Everything in them is escaped by what writes them."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable

from domain.media.promos import Promo

VERSION = "4.2"
MOST_ADS = 5
# What the standard has stand where nobody is to be asked.
NOWHERE = "about:blank"


def vast(promos: Iterable[Promo]) -> str:
    """Return a document with these ad tags; without any, one that tells players that there is no ad."""
    document = ET.Element("VAST", version=VERSION, xmlns="http://www.iab.com/VAST")
    for promo in promos:
        ad = ET.SubElement(document, "Ad", id=promo.promo_id)
        wrapper = ET.SubElement(ad, "Wrapper", followAdditionalWrappers="true", allowMultipleAds="false")
        ET.SubElement(wrapper, "AdSystem").text = "Ani"
        extensions = ET.SubElement(wrapper, "Extensions")
        _extend(extensions, "ani", "PromoId", promo.promo_id)
        if promo.erid:
            _extend(extensions, "erid", "Erid", promo.erid)
        ET.SubElement(wrapper, "Impression").text = NOWHERE
        ET.SubElement(wrapper, "VASTAdTagURI").text = promo.url
    return ET.tostring(document, encoding="unicode", xml_declaration=True).replace("encoding='us-ascii'", "encoding='utf-8'")


def _extend(extensions: ET.Element, kind: str, name: str, value: str) -> None:
    extension = ET.SubElement(extensions, "Extension", type=kind)
    ET.SubElement(extension, name).text = value
