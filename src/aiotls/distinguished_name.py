"""Subjects and issuers: distinguished names, from DER to a dict or to text (RFC 4514)."""

from .der import Element

Attribute = tuple[str, Element]
"""The name of an attribute, dotted when it is not a usual one, and its value."""


def attributes(name: Element) -> list[list[Attribute]]:
    """The relative names in a distinguished name, each with its attributes."""
    return [[_attribute(pair) for pair in relative.children()] for relative in name.children()]


def as_dict(name: Element) -> dict[str, str | list[str]]:
    """The attributes by name; one that is there more than once has a list."""
    values: dict[str, list[str]] = {}
    for relative in attributes(name):
        for key, value in relative:
            values.setdefault(key, []).append(value.text())
    return {key: texts if len(texts) > 1 else texts[0] for key, texts in values.items()}


def as_text(name: Element) -> str:
    """The form of RFC 2253: the last attribute first."""
    relatives = ("+".join(map(_attribute_text, reversed(relative))) for relative in reversed(attributes(name)))
    return ",".join(relatives)


def _attribute(pair: Element) -> Attribute:
    kind, value = pair.children()
    oid = kind.oid()
    return SHORT_NAMES.get(oid, oid), value


def _attribute_text(attribute: Attribute) -> str:
    key, value = attribute
    if key[0].isdigit():
        return f"{key}=#{value.encoded.hex().upper()}"
    return f"{key}={_escaped(value.text())}"


def _escaped(text: str) -> str:
    escaped = "".join(_escaped_character(character) for character in text)
    if text[:1] in ("#", " "):
        escaped = "\\" + escaped
    if text[-1:] == " " and len(text) > 1:
        escaped = escaped[:-1] + "\\ "
    return escaped


def _escaped_character(character: str) -> str:
    if character in ',+"\\<>;':
        return "\\" + character
    if character < " " or character == "\x7f":
        return f"\\{ord(character):02X}"
    return character


SHORT_NAMES = {
    "2.5.4.3": "CN",
    "2.5.4.4": "SN",
    "2.5.4.5": "serialNumber",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "street",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "2.5.4.12": "title",
    "2.5.4.13": "description",
    "2.5.4.15": "businessCategory",
    "2.5.4.16": "postalAddress",
    "2.5.4.17": "postalCode",
    "2.5.4.20": "telephoneNumber",
    "2.5.4.41": "name",
    "2.5.4.42": "GN",
    "2.5.4.43": "initials",
    "2.5.4.44": "generationQualifier",
    "2.5.4.45": "x500UniqueIdentifier",
    "2.5.4.46": "dnQualifier",
    "2.5.4.65": "pseudonym",
    "2.5.4.97": "organizationIdentifier",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
    "1.2.840.113549.1.9.1": "emailAddress",
    "1.2.840.113549.1.9.2": "unstructuredName",
    "1.3.6.1.4.1.311.60.2.1.1": "jurisdictionL",
    "1.3.6.1.4.1.311.60.2.1.2": "jurisdictionST",
    "1.3.6.1.4.1.311.60.2.1.3": "jurisdictionC",
}
"""OpenSSL's short names."""
