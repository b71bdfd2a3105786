"""What the connections of a server start with, and what may change it while the server runs."""

import asyncio
from collections.abc import Set
from dataclasses import replace
from typing import Self, Unpack

from . import checks
from .answering import NamedContext, settings_with
from .connection_settings import ConnectionSettings
from .context import SecureContext
from .context_options import ContextOptions
from .emitter import Emitter, EventName, Listener
from .errors import OptionTypeError
from .keywords import CONTEXT_NAMES, ContextKeywords, check_names
from .options import ServerOptions, count
from .sni import SniTable
from .tickets import TicketKeyRing, parse_ticket_keys


class ServerPolicy(Emitter):
    """The part of `Server` that decides; a change holds for connections accepted after it."""

    __slots__ = ("_loop", "_most", "_names", "_options", "_settings", "_tickets")

    def __init__(self, options: ServerOptions) -> None:
        super().__init__()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._options = options
        self._names: SniTable[NamedContext] = SniTable()
        self._most = options.max_connections
        self._tickets = options.settings.context._tickets
        self._tickets.follow(self._tickets_rotated)
        self._settings = self._current_settings()

    @property
    def allow_half_open(self) -> bool:
        """Whether the sockets stay writable after the peer has ended."""
        return bool(self._options.allow_half_open)

    @property
    def pause_on_connect(self) -> bool:
        """Whether the sockets start paused."""
        return self._options.pause_on_connect

    def on(self, event: EventName, listener: Listener) -> Self:
        """Adds a listener; those for the handshake count for connections accepted later.

        Args:
            event: The name of the event.
            listener: A plain or ``async`` function; its arguments depend on the event.

        Raises:
            OptionError: There is no such event; the error names the nearest one.
            OptionTypeError: The listener cannot be called.
        """
        super().on(event, listener)
        self._renew()
        return self

    def off(self, event: EventName, listener: Listener) -> Self:
        """Removes a listener; those for the handshake count for connections accepted later.

        Args:
            event: The name of the event.
            listener: What `on` or `once` was given; one that is not there is no error.

        Raises:
            OptionError: There is no such event.
        """
        super().off(event, listener)
        self._renew()
        return self

    def add_context(
        self,
        hostname: str,
        context: SecureContext | None = None,
        /,
        *,
        request_cert: bool | None = None,
        reject_unauthorized: bool | None = None,
        **options: Unpack[ContextKeywords],
    ) -> None:
        """Uses another context for clients that ask for a name; of several that match, the one added last.

        Args:
            hostname: A DNS name, in any case; ``*`` stands for one label or a part of one.
            context: The context for it.
            request_cert: Whether to ask these clients for a certificate; None leaves it to the server's option.
            reject_unauthorized: Whether to refuse those without a good one; None leaves it to the server's option.
            options: Those of `create_secure_context`, instead of a context.

        Raises:
            OptionError: A value cannot work; the error names it.

        Example::

            server.add_context("*.example.com", key=Path("example.key"), cert=Path("example.pem"))

        Source: RFC 6066, section 3.
        """
        context = _context(context, options, "add_context", {"request_cert", "reject_unauthorized"})
        policy = [
            None if value is None else checks.boolean(option, value)
            for option, value in (("request_cert", request_cert), ("reject_unauthorized", reject_unauthorized))
        ]
        self._names.add(hostname, NamedContext(context, *policy))
        self._renew()

    def set_secure_context(self, context: SecureContext | None = None, /, **options: Unpack[ContextKeywords]) -> None:
        """Exchanges the context, for example after a certificate was renewed; connections go on with theirs.

        Ticket keys stay, unless ``ticket_keys`` is among the options.

        Args:
            context: The new context.
            options: Those of `create_secure_context`, instead of a context.

        Raises:
            OptionError: A value cannot work; the error names it, and the context stays as it was.
        """
        new = _context(context, options, "set_secure_context")
        if options.get("ticket_keys") is not None:
            self._use_tickets(new._tickets)
        self._options = replace(self._options, settings=replace(self._options.settings, context=new))
        self._renew()

    def get_ticket_keys(self) -> bytes:
        """The key of new session tickets: 48 bytes, which other servers may share."""
        return self._tickets.keys[0]

    def set_ticket_keys(self, keys: bytes | TicketKeyRing) -> None:
        """Makes session tickets under other keys; those under the old ones are not taken any more.

        Args:
            keys: 48 bytes, or a `TicketKeyRing`, whose earlier keys still read tickets.

        Raises:
            OptionError: They are neither.
        """
        self._use_tickets(parse_ticket_keys("keys", keys))
        self._renew()

    def _use_tickets(self, tickets: TicketKeyRing) -> None:
        self._tickets = tickets
        tickets.follow(self._tickets_rotated)

    def _tickets_rotated(self) -> None:
        """In whatever thread has rotated the keys."""
        if self._loop is None or self._loop.is_closed():
            self._renew()
        else:
            self._loop.call_soon_threadsafe(self._renew)

    @property
    def max_connections(self) -> int | None:
        """How many connections may be open; what comes besides is closed at once.  None for no limit."""
        return self._most

    @max_connections.setter
    def max_connections(self, most: int | None) -> None:
        self._most = None if most is None else count("max_connections", most)
        self._renew()

    def _renew(self) -> None:
        """Something has changed for connections accepted from now on."""
        self._settings = self._current_settings()

    def _current_settings(self) -> ConnectionSettings:
        named = bool(self._names)
        return settings_with(self._options.settings, self._listeners, named=named, tickets=self._tickets)


def _context(
    context: SecureContext | None, options: ContextKeywords, function: str, others: Set[str] = frozenset()
) -> SecureContext:
    """The context given, or one of the options; `others` are names that the function knows besides."""
    check_names(options, CONTEXT_NAMES | others, function)
    if context is None:
        return SecureContext(ContextOptions.parse(options, server=True, function=function))
    if not isinstance(context, SecureContext):
        raise checks.wrong_type("context", "a SecureContext, or options by keyword", context)
    if options:
        raise OptionTypeError("give a context or options, not both", option="context")
    return context
