"""A server that shows no certificate at all."""

import asyncio
import ssl

import pytest

import aiotls
from tests.conftest import Run
from tests.support.pairs import BarePeer, tcp_pair


@pytest.mark.parametrize("reject", [True, False])
def test_a_server_without_a_certificate_is_nobody(run: Run, reject: bool) -> None:
    """An anonymous suite verifies nobody, though no check of a certificate fails."""

    async def main() -> None:
        near, far = await tcp_pair()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("aNULL:@SECLEVEL=0")
        peer = asyncio.create_task(BarePeer(far, context, server=True).handshake())
        client = aiotls.TLSSocket(
            near, ciphers="ALL:@SECLEVEL=0", max_version="TLSv1.2", host="localhost", reject_unauthorized=reject
        )
        if reject:
            with pytest.raises(aiotls.VerificationError) as caught:
                await client
            assert caught.value.code == "UNABLE_TO_GET_ISSUER_CERT"
        else:
            await client
            assert (client.authorized, client.authorization_error) == (False, "UNABLE_TO_GET_ISSUER_CERT")
            client.destroy()
        await peer
        far.close()

    run(main)
