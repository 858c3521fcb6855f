"""TLS, and mutual TLS, against the server."""

import pytest
import trustme

from attention_client import Tls, UnavailableError


@pytest.fixture
def authority():
    return trustme.CA()


@pytest.fixture
def files(authority, tmp_path):
    """ca, cert and key, as files."""
    client = authority.issue_cert("client")
    paths = {word: tmp_path / f"{word}.pem" for word in ("ca", "cert", "key")}
    authority.cert_pem.write_to_path(paths["ca"])
    client.cert_chain_pems[0].write_to_path(paths["cert"])
    client.private_key_pem.write_to_path(paths["key"])
    return paths


@pytest.fixture(params=[False, True], ids=["tls", "mutual tls"])
def secure(request, authority, tmp_path, start_server):
    """(address, whether it asks for the client's certificate) of a server."""
    issued = authority.issue_cert("127.0.0.1")
    cert, key, client_ca = (tmp_path / f"server-{word}.pem"
                            for word in ("cert", "key", "client-ca"))
    issued.cert_chain_pems[0].write_to_path(cert)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(client_ca)
    flags = ["--tls-cert", cert, "--tls-key", key]
    if request.param:
        flags += ["--tls-client-ca", client_ca]
    with start_server(*map(str, flags)) as (address, _):
        yield address, request.param


def test_who_shows_what_is_asked_for_is_answered(connect, secure, files):
    address, mutual = secure
    tls = Tls(**files) if mutual else Tls(ca=files["ca"])
    assert connect(address, tls=tls).server_info(timeout=60).version != ""


def test_a_server_of_another_authority_is_not_trusted(connect, secure, files):
    other = files["ca"].with_name("other.pem")
    trustme.CA().cert_pem.write_to_path(other)
    for tls in (Tls(), Tls(ca=other), None):
        with pytest.raises(UnavailableError):
            connect(secure[0], tls=tls).server_info(timeout=60)


def test_a_client_without_certificate_is_refused_where_one_is_asked_for(
        connect, secure, files):
    address, mutual = secure
    client = connect(address, tls=Tls(ca=files["ca"]))
    if mutual:
        with pytest.raises(UnavailableError):
            client.server_info(timeout=60)
    else:
        client.server_info(timeout=60)


def test_files_that_cannot_be_used_are_named(connect, files):
    with pytest.raises(ValueError, match="tls has cert without key"):
        connect("localhost:1", tls=Tls(cert=files["cert"]))
    with pytest.raises(OSError, match="nothing.pem"):
        connect("localhost:1", tls=Tls(ca=files["ca"].with_name("nothing.pem")))
    with pytest.raises(ValueError, match="key.pem has no CERTIFICATE in PEM"):
        connect("localhost:1", tls=Tls(ca=files["key"]))
    with pytest.raises(ValueError, match="cert.pem has no PRIVATE KEY in PEM"):
        connect("localhost:1", tls=Tls(cert=files["cert"], key=files["cert"]))
