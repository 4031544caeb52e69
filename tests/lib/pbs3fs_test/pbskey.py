# SPDX-License-Identifier: GPL-3.0-or-later
"""
Keys, signatures and encrypted datastores, from the description of the format
and with nothing of the program's code.  Signatures need Python's own library
alone, encryption the package cryptography.
"""
import base64
import hashlib
import hmac
import json
import os
import struct
import zlib

from . import pbsgen

ENC = bytes.fromhex("7b6785be222d4cf0")
ENC_ZSTD = bytes.fromhex("e6591bbf0bbfd80b")


class Key:
    def __init__(self, raw):
        self.raw = raw
        self.id_key = hashlib.pbkdf2_hmac("sha256", raw, b"_id_key", 10, 32)
        text = b"Proxmox Backup Encryption Key Fingerprint"
        self.fingerprint = hashlib.sha256(
            hashlib.sha256(text).digest() + self.id_key).digest().hex(":")

    @classmethod
    def load(cls, path, passphrase=None):
        """From a key file."""
        with open(path) as f:
            j = json.load(f)
        data = base64.b64decode(j["data"])
        if j["kdf"] is None:
            return cls(data)
        (name, k), = j["kdf"].items()
        salt = base64.b64decode(k["salt"])
        if name == "Scrypt":
            outer = hashlib.scrypt(passphrase, salt=salt, n=k["n"], r=k["r"],
                                   p=k["p"], maxmem=1 << 28, dklen=32)
        else:
            outer = hashlib.pbkdf2_hmac("sha256", passphrase, salt,
                                        k["iter"], 32)
        return cls(_gcm(outer).decrypt(data[:16], data[32:] + data[16:32],
                                       None))

    def save(self, path):
        with open(path, "w") as f:
            json.dump({"kdf": None, "created": "2024-01-01T00:00:00+00:00",
                       "modified": "2024-01-01T00:00:00+00:00",
                       "data": base64.b64encode(self.raw).decode(),
                       "fingerprint": self.fingerprint}, f)
        os.chmod(path, 0o600)
        return path

    def sign(self, manifest):
        """The signature of a manifest."""
        known = {k: manifest[k] for k in
                 ("backup-id", "backup-time", "backup-type")}
        known["files"] = [{"crypt-mode": f.get("crypt-mode", "none"),
                           "csum": f["csum"], "filename": f["filename"],
                           "size": f["size"]} for f in manifest["files"]]
        text = json.dumps(known, sort_keys=True, separators=(",", ":"),
                          ensure_ascii=False)
        return hmac.new(self.id_key, text.encode(),
                        hashlib.sha256).hexdigest()

    def digest(self, data):
        """What a chunk of that content is called."""
        return hashlib.sha256(data + self.id_key).digest()

    def seal(self, raw):
        """The plain blob, encrypted."""
        iv = os.urandom(16)
        out = _gcm(self.raw).encrypt(iv, raw[12:], None)
        magic = ENC_ZSTD if raw[:8] == pbsgen.ZSTD else ENC
        return magic + struct.pack("<I", zlib.crc32(out[:-16])) + iv + \
            out[-16:] + out[:-16]


def _gcm(key):
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    return AESGCM(key)


class Store(pbsgen.Store):
    """A datastore whose chunks and snapshots are encrypted."""
    crypt = "encrypt"

    def __init__(self, path, key):
        super().__init__(path)
        self.key = key

    def put(self, data, kind="auto", encoded=None, digest=None):
        digest = digest or self.key.digest(data)
        if digest in self.chunks:
            return digest
        if encoded is None:
            encoded = self.key.seal(pbsgen.blob(data, kind))
        return super().put(data, kind, encoded, digest)

    def snapshot(self, kind, ident, when="2024-01-01T00:00:00Z", ns=""):
        return Snapshot(self, kind, ident, when, ns)


class Snapshot(pbsgen.Snapshot):
    def blob(self, name, data, kind="auto"):
        raw = self.store.key.seal(pbsgen.blob(data, kind))
        self._write(name, raw)
        self._list(name, len(raw), hashlib.sha256(raw).digest())

    def finish(self, **more):
        more.setdefault("unprotected", {
            "key-fingerprint": self.store.key.fingerprint})
        return super().finish(signature=self.store.key.sign(self.manifest()),
                              **more)
