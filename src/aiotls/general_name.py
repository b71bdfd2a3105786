"""General names (RFC 5280, section 4.2.1.6), as subjectAltName and authorityInfoAccess hold them.

In a list of names, as text, a name that holds a comma, a quote, a control character or the like stands in double
quotes with the escapes of JSON, so that no name can pass for two (CVE-2021-44532).
"""

import ipaddress
from dataclasses import dataclass

from . import distinguished_name
from .der import IA5_STRING, UTF8_STRING, Element, dotted, read


@dataclass(frozen=True, slots=True)
class GeneralName:
    """One name."""

    kind: str
    """``"DNS"``, ``"IP Address"``, ``"URI"``, ``"email"``, ``"DirName"``, ``"Registered ID"``, ``"othername"``, ..."""
    value: str
    """The name itself, whatever characters it has."""
    unicode: bool = False
    """Whether characters beyond ASCII are at home in it."""

    def __str__(self) -> str:
        return f"{self.kind}:{_quoted(self.value, self.unicode)}"


def parse_name(element: Element) -> GeneralName:
    """The general name that an element is.

    Raises:
        ValueError: It is none.
    """
    match element.tag:
        case 0xA0:
            return _other_name(element)
        case 0x81:
            return GeneralName("email", element.content.decode("latin-1"))
        case 0x82:
            return GeneralName("DNS", element.content.decode("latin-1"))
        case 0xA3:
            return GeneralName("X400Name", _UNSUPPORTED)
        case 0xA4:
            return GeneralName("DirName", distinguished_name.as_text(read(element.content)), unicode=True)
        case 0xA5:
            return GeneralName("EdiPartyName", _UNSUPPORTED)
        case 0x86:
            return GeneralName("URI", element.content.decode("latin-1"))
        case 0x87:
            return GeneralName("IP Address", _address(element.content))
        case 0x88:
            return GeneralName("Registered ID", dotted(element.content))
        case _:
            raise ValueError(f"no general name has the tag {element.tag:#x}")


def _other_name(element: Element) -> GeneralName:
    match element.children():
        case [kind, Element(tag=0xA0) as wrapped]:
            value = read(wrapped.content)
        case _:
            raise ValueError("an othername that is none")
    name, tag = _OTHER_NAMES.get(kind.oid(), ("", None))
    if value.tag != tag:
        return GeneralName("othername", _UNSUPPORTED)
    return GeneralName("othername", f"{name}:{value.text('replace')}", unicode=tag == UTF8_STRING)


def _address(packed: bytes) -> str:
    if len(packed) == 4:
        return str(ipaddress.IPv4Address(packed))
    if len(packed) == 16:
        return ":".join(f"{packed[i] << 8 | packed[i + 1]:X}" for i in range(0, 16, 2))
    return f"<invalid length={len(packed)}>"


def _quoted(value: str, unicode: bool) -> str:
    if all(_is_plain(character, unicode) and character != "'" for character in value):
        return value
    return f'"{"".join(_escaped(character, unicode) for character in value)}"'


def _escaped(character: str, unicode: bool) -> str:
    if character in '"\\':
        return "\\" + character
    return character if _is_plain(character, unicode) else f"\\u{ord(character):04x}"


def _is_plain(character: str, unicode: bool) -> bool:
    return character not in '",\\' and (" " <= character <= "~" or (unicode and character > "\x7f"))


_UNSUPPORTED = "<unsupported>"

_OTHER_NAMES = {
    "1.3.6.1.5.5.7.8.5": ("XmppAddr", UTF8_STRING),
    "1.3.6.1.5.5.7.8.7": ("SRVName", IA5_STRING),
    "1.3.6.1.5.5.7.8.8": ("NAIRealm", UTF8_STRING),
    "1.3.6.1.5.5.7.8.9": ("SmtpUTF8Mailbox", UTF8_STRING),
    "1.3.6.1.4.1.311.20.2.3": ("UPN", UTF8_STRING),
}
