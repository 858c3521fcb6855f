"""TLS, against a server of gRPC's own that answers GetServerInfo."""

from concurrent import futures

import grpc
import pytest
import trustme

from attention_client import Tls, UnavailableError
from attention_client import attention_pb2 as pb


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
def secure(request, authority):
    """(address, whether it asks for the client's certificate) of a server."""
    answer = grpc.unary_unary_rpc_method_handler(
        lambda message, context: pb.GetServerInfoResponse(version="9.9.9"),
        pb.GetServerInfoRequest.FromString,
        pb.GetServerInfoResponse.SerializeToString)
    issued = authority.issue_cert("127.0.0.1")
    credentials = grpc.ssl_server_credentials(
        [(issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())],
        authority.cert_pem.bytes() if request.param else None, request.param)
    server = grpc.server(futures.ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
        "attention.v1.AttentionService", {"GetServerInfo": answer})])
    port = server.add_secure_port("127.0.0.1:0", credentials)
    server.start()
    yield f"127.0.0.1:{port}", request.param
    server.stop(None).wait()


def test_who_shows_what_is_asked_for_is_answered(connect, secure, files):
    address, mutual = secure
    tls = Tls(**files) if mutual else Tls(ca=files["ca"])
    assert connect(address, tls=tls).server_info(timeout=60).version == "9.9.9"


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
