"""An authority of a test's own, which makes certificates while the test runs."""

import datetime
import ipaddress
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def write_key(path, key, passphrase=None):
    """A private key as PEM, for its owner alone."""
    encryption = (serialization.NoEncryption() if passphrase is None else
                  serialization.BestAvailableEncryption(passphrase))
    path.write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        encryption))
    path.chmod(0o600)


def subject(name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def alternative(name):
    """A host's address or name as a certificate has it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


class Authority:
    """Signs certificates; `ca` is the file of its own."""

    def __init__(self, folder, name="authority"):
        self.folder = pathlib.Path(folder)
        self.name = name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ca = self.folder / f"{name}.pem"
        self.ca.write_bytes(self._sign(
            name, self.key.public_key(), -DAY, 100 * DAY,
            x509.BasicConstraints(ca=True, path_length=0)))

    def issue(self, name, hosts=(), begins=-DAY, ends=100 * DAY, key=None):
        """(certificate file, key file) for `hosts`, valid from `begins` to
        `ends` from now."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        extensions = [x509.SubjectAlternativeName(map(alternative, hosts))
                      ] if hosts else []
        cert = self.folder / f"{name}.pem"
        cert.write_bytes(self._sign(
            name, key.public_key(), begins, ends, *extensions))
        key_file = self.folder / f"{name}.key"
        write_key(key_file, key)
        return cert, key_file

    def _sign(self, name, public_key, begins, ends, *extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(
            issuer_name=subject(self.name), subject_name=subject(name),
            public_key=public_key, serial_number=x509.random_serial_number(),
            not_valid_before=now + begins, not_valid_after=now + ends)
        for extension in extensions:
            builder = builder.add_extension(extension, critical=False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return certificate.public_bytes(serialization.Encoding.PEM)
