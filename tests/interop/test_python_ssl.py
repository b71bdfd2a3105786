"""aiotls and Python's own ssl, both ways, each in a process of its own."""

from tests.interop import scripted
from tests.support import peers


class TestPythonAsClient(scripted.AsClient):
    peer = staticmethod(peers.python_client)
    certificate_required = "ALERT_CERTIFICATE_REQUIRED"
    unknown_ca = "ALERT_UNKNOWN_CA"


class TestPythonAsServer(scripted.AsServer):
    peer = staticmethod(peers.python_server)
