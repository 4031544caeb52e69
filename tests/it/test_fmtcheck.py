# SPDX-License-Identifier: GPL-3.0-or-later
"""
The checker of datastores itself: it finds nothing in what Proxmox Backup
wrote, and in everything that is wrong in one way just that.
"""
import hashlib
import json
import os
import struct
import zlib

import pytest
import zstandard

from pbs3fs_test import fixtures, fmtcheck, fmtpxar, fmtrules, pbsgen, pbskey
from pbs3fs_test.fmtmade import CATALOG, Made, ONE, TWO, VM, archive, catalog
from pbs3fs_test.paths import DATA

CASES = fixtures.damaged_cases()

# What is found in each of the damaged fixtures.
FOUND = {
    "ok": [], "chunk-truncated": ["blob-crc"],
    "chunk-truncated-header": ["chunk-stored"],
    "chunk-empty": ["chunk-empty"], "chunk-header-only": ["chunk-stored"],
    "chunk-appended": ["blob-crc"], "chunk-bitflip-data": ["blob-crc"],
    "chunk-bitflip-crc": ["blob-crc"], "chunk-bad-magic": ["blob-magic"],
    "chunk-wrong-length": ["chunk-length"],
    "chunk-missing": ["chunk-missing"], "chunk-0bad": ["chunk-missing"],
    "chunk-0bad-and-good": [], "chunk-unreferenced": [],
    "chunk-vm-missing": ["chunk-missing"],
    "didx-truncated-entry": ["index-csum"],
    "didx-truncated-header": ["index-length"],
    "didx-no-entries": ["index-empty"], "didx-empty-file": ["index-length"],
    "didx-bad-magic": ["index-magic"],
    "didx-bad-csum-header": ["index-csum"],
    "didx-digest-flip": ["index-csum"],
    "didx-reserved-nonzero": ["index-reserved"],
    "fidx-truncated": ["index-length"], "fidx-bad-size": ["index-length"],
    "fidx-chunk-size-0": ["index-chunk-size"],
    "fidx-bad-csum-header": ["index-csum"],
    "manifest-missing-file": ["file-missing"],
    "manifest-extra-entry": ["file-missing", "manifest-order"],
    "manifest-wrong-csum": ["manifest-csum"],
    "manifest-wrong-size": ["manifest-size"], "manifest-crc": ["blob-crc"],
    "manifest-not-json": ["manifest-json"],
    "manifest-empty-file": ["blob-length"],
    "manifest-other-snapshot": ["manifest-place"],
    "manifest-unknown-keys": ["manifest-fields"],
    "unfinished": ["manifest-missing", "temp-file"],
    "blob-bitflip": ["blob-crc", "manifest-csum"],
    "no-owner": ["owner-missing"], "bad-owner": ["owner-syntax"],
    "no-lock": ["lock-file"], "compat-zstd-stream": ["zstd-size"],
    "pxar-truncated": ["pxar-record"], "pxar-bad-header": ["pxar-content"],
    "pxar-name-dotdot": ["pxar-name"],
    "pxar-goodbye-offset": ["goodbye-offset"],
    "pxar-header-small": ["pxar-record"],
    "pxar-symlink-no-nul": ["pxar-symlink"], "pxar-trailing": ["pxar-end"],
    "catalog-bad-magic": ["catalog-magic"],
    "catalog-bad-offset": ["catalog-offset"],
    "ppxar-missing": ["file-missing"],
    "ppxar-header-mismatch": ["payload-header"],
    "enc-ok": [], "enc-chunk-bitflip": ["blob-crc"],
    "enc-chunk-data-crc-fixed": ["blob-tag"], "enc-chunk-tag": ["blob-tag"],
    "enc-chunk-iv": ["blob-tag"], "enc-chunk-plain": ["crypt-kind"],
    "enc-signature": ["manifest-signature"],
    "enc-fingerprint": ["manifest-fingerprint"], "enc-notes-changed": [],
}


def key(name, passphrase=None):
    return pbskey.Key.load(os.path.join(DATA, "keys", name + ".json"),
                           passphrase)


@pytest.fixture(scope="module")
def keys():
    return [key("key-none"), key("key-s3"), key("key-scrypt", b"scrypt-pass"),
            key("key-pbkdf2", b"pbkdf2-pass")]


def found(store, *args, **kw):
    """The rules that are broken, each once."""
    problems = fmtcheck.check(store, *args, **kw)
    print("\n".join(map(str, problems)))
    return sorted({p.rule for p in problems})


@pytest.mark.parametrize("name", ["plain", "encrypted"])
def test_directories_of_proxmox_backup(fx, keys, name):
    store = fmtcheck.Directory(fx[name])
    fmtcheck.clean(store, keys, owner=(34, 34), all_chunk_dirs=False)
    # Less is known without the keys, and nothing is wrong.
    fmtcheck.clean(store, all_chunk_dirs=False)


def test_bucket_of_proxmox_backup(fx, keys):
    objects = fixtures.bucket_objects(fx["s3-bucket"])
    fmtcheck.clean(fmtcheck.Bucket(objects, "s3store"), keys)


def test_bucket_of_a_gateway(bucket, gateway, keys):
    b = bucket("s3-bucket")
    fmtcheck.clean(fmtcheck.Bucket.live(gateway.client(), b.name,
                                        b.datastore), keys)


@pytest.mark.parametrize("case", CASES)
def test_damaged(fx, keys, case):
    path = os.path.join(fx["damaged"], case)
    # Files that were added to these stores are not the server's.
    assert found(fmtcheck.Directory(path), keys, modes=False,
                 all_chunk_dirs=False) == FOUND[case]


# Stores of our own, each with one thing wrong.

def changed(data, old, new, count=1):
    data = bytes(data)
    assert old in data
    return data.replace(old, new, count)


WRONG = {}


def wrong(*rules):
    """Registers what makes a store break those rules."""
    def register(fn):
        WRONG[fn.__name__] = (sorted(rules), fn)
        return fn
    return register


def simple(name, rules, fn):
    WRONG[name] = (sorted(rules.split()), fn)


# Indices.

def index(s, top, name, fn):
    """Changes the bytes of an index and nothing else."""
    s.store[f"{top}/{name}"] = fn(s.store[f"{top}/{name}"])


IMG = VM, "drive-scsi0.img.fidx"
MPX = ONE, "root.mpxar.didx"

simple("fixed_entry_too_many", "index-length",
       lambda s: index(s, *IMG, lambda b: b + bytes(32)))
simple("fixed_entry_too_few", "index-length",
       lambda s: index(s, *IMG, lambda b: b[:-32]))
simple("dynamic_entry_cut", "index-length",
       lambda s: index(s, *MPX, lambda b: b[:-1]))
simple("header_too_short", "index-length",
       lambda s: index(s, *MPX, lambda b: b[:4095]))
simple("fixed_magic_of_dynamic", "index-magic",
       lambda s: index(s, *IMG, lambda b: pbsgen.DIDX + b[8:]))
simple("reserved_byte_in_fixed", "index-reserved",
       lambda s: index(s, *IMG, lambda b: b[:80] + b"\1" + b[81:]))
simple("no_entries", "index-empty",
       lambda s: s.table(*MPX, pbsgen.DIDX, b"", 0))
simple("image_of_nothing", "index-empty", lambda s: s.fixed(*IMG, b""))
simple("chunks_of_2_mib", "index-chunk-size",
       lambda s: s.fixed(*IMG, bytes(5 << 20), 2 << 20))
simple("chunks_of_3_mib", "index-chunk-size",
       lambda s: s.fixed(*IMG, bytes(5 << 20), 3 << 20))
simple("last_chunk_padded", "chunk-length",
       lambda s: s.fixed(*IMG, bytes(5 << 20), pad=True))
simple("ends_fall", "index-ends", lambda s: s.table(
    *MPX, pbsgen.DIDX, struct.pack("<Q32sQ32s", 9, bytes(32), 9, bytes(32)),
    9))
simple("chunk_too_large", "index-ends", lambda s: s.table(
    *MPX, pbsgen.DIDX, struct.pack("<Q32s", (16 << 20) + 1, bytes(32)),
    (16 << 20) + 1))
simple("csum_of_the_file", "manifest-csum", lambda s: s.entry(*MPX).update(
    csum=hashlib.sha256(s.store["/".join(MPX)]).hexdigest()))
simple("size_of_the_file", "manifest-size", lambda s: s.entry(*MPX).update(
    size=len(s.store["/".join(MPX)])))


# Blobs and chunks.

CONF = ONE, "h1.conf.blob"
TEXT = b"text " * 100


def packed(frame, magic=pbsgen.ZSTD):
    return magic + struct.pack("<I", zlib.crc32(frame)) + frame


def zstd(data, **kw):
    return zstandard.ZstdCompressor(level=1, **kw).compress(data)


simple("frame_without_size", "zstd-size", lambda s: s.blob(
    *CONF, None, packed(zstd(TEXT, write_content_size=False))))
simple("frame_with_checksum", "zstd-frame", lambda s: s.blob(
    *CONF, None, packed(zstd(TEXT, write_checksum=True))))
simple("two_frames", "zstd-frame", lambda s: s.blob(
    *CONF, None, packed(zstd(TEXT) + zstd(TEXT))))
simple("no_frame", "zstd-frame", lambda s: s.blob(*CONF, None, packed(TEXT)))
simple("cut_frame", "zstd-frame", lambda s: s.blob(
    *CONF, None, packed(zstd(pbsgen.noise(999))[:-1])))
simple("dictionary", "zstd-frame", lambda s: s.blob(
    *CONF, None, packed(zstd(TEXT, dict_data=zstandard.train_dictionary(
        1024, [b"text %d" % i * 20 for i in range(200)])))))
simple("larger_when_packed", "zstd-gain", lambda s: s.blob(
    *CONF, None, packed(zstd(pbsgen.noise(100)))))
simple("crc_of_everything", "blob-crc", lambda s: s.blob(
    *CONF, None, pbsgen.RAW + struct.pack(
        "<I", zlib.crc32(pbsgen.RAW + bytes(4) + TEXT)) + TEXT))
simple("csum_of_the_content", "manifest-csum", lambda s: s.entry(
    *CONF).update(csum=hashlib.sha256(TEXT).hexdigest()))
simple("size_of_the_content", "manifest-size", lambda s: s.entry(
    *CONF).update(size=len(TEXT)))
simple("plain_blob_as_encrypted", "crypt-kind manifest-signature",
       lambda s: s.entry(*CONF).update({"crypt-mode": "encrypt"}))
simple("blob_too_long_to_sync", "blob-length", lambda s: s.blob(
    *CONF, None, pbsgen.blob(bytes((16 << 20) + 40), "raw")))


def chunk_names(s):
    return sorted(n for n in s.store if n.startswith(".chunks/"))


@wrong("chunk-missing", "stray-key")
def upper_case_chunk(s):
    name = chunk_names(s)[0]
    s.store[name[:13] + name[13:].upper()] = s.store.pop(name)


@wrong("chunk-missing", "stray-key")
def chunk_in_another_directory(s):
    name = next(n for n in chunk_names(s) if n[8:12] != "0000")
    s.store[".chunks/0000" + name[12:]] = s.store.pop(name)


@wrong("chunk-digest")
def chunk_of_other_content(s):
    s.store[chunk_names(s)[0]] = pbsgen.blob(b"other")


@wrong("chunk-digest")
def unused_chunk_of_other_content(s):
    s.store[f".chunks/0000/{0:064}"] = pbsgen.blob(b"other")


@wrong("chunk-empty")
def unused_empty_chunk(s):
    s.store[f".chunks/0000/{0:064}"] = b""


# Manifests.

def doc(fn, top=ONE):
    return lambda s: fn(s.docs[top])


def raw_manifest(fn):
    def change(s):
        text = fn(json.dumps(s.docs[ONE], indent=2, sort_keys=True))
        s.store[f"{ONE}/index.json.blob"] = pbsgen.blob(text.encode())
    return change


def reorder(d):
    d["files"].reverse()


def unprotected(**values):
    return doc(lambda d: d["unprotected"].update(
        {k.replace("__", "-"): v for k, v in values.items()}))


GOOD_UPID = "UPID:n:0000002F:000618C8:00000014:6B01A9EB:verify::root@pam:"
simple("payload_after_metadata", "manifest-order", doc(reorder))
simple("catalog_before_archive", "manifest-order", doc(reorder, TWO))
simple("keys_not_sorted", "manifest-text", raw_manifest(
    lambda t: json.dumps(dict(reversed(json.loads(t).items())), indent=2)))
simple("compact", "manifest-text",
       raw_manifest(lambda t: json.dumps(json.loads(t))))
simple("key_twice", "manifest-json", raw_manifest(
    lambda t: t.replace('"backup-id"', '"backup-id": "x",\n  "backup-id"')))
simple("additional_field", "manifest-fields",
       doc(lambda d: d.update(more=1)))
simple("additional_field_of_a_file", "manifest-fields",
       doc(lambda d: d["files"][0].update(more=1)))
simple("no_signature_field", "manifest-fields",
       doc(lambda d: d.pop("signature")))
simple("time_as_text", "manifest-fields", doc(
    lambda d: d.update({"backup-time": str(d["backup-time"])})))
simple("size_as_text", "manifest-fields",
       doc(lambda d: d["files"][0].update(size="1")))
simple("size_as_float", "manifest-fields",
       doc(lambda d: d["files"][0].update(size=1.0)))
simple("crypt_mode_null", "manifest-fields",
       doc(lambda d: d["files"][0].update({"crypt-mode": None})))
simple("crypt_mode_unknown", "manifest-fields",
       doc(lambda d: d["files"][0].update({"crypt-mode": "Encrypt"})))
simple("csum_in_capitals", "manifest-fields", doc(
    lambda d: d["files"][0].update(csum=d["files"][0]["csum"].upper())))
simple("file_twice", "manifest-name",
       doc(lambda d: d["files"].append(d["files"][0])))
simple("manifest_lists_itself", "manifest-name", doc(
    lambda d: d["files"][2].update(filename="index.json.blob")))
simple("path_in_a_name", "manifest-name", doc(
    lambda d: d["files"][2].update(filename="../h1.conf.blob")))
simple("of_another_group", "manifest-place",
       doc(lambda d: d.update({"backup-id": "h2"})))
simple("of_another_time", "manifest-place",
       doc(lambda d: d.update({"backup-time": 1})))
simple("signed_without_signature", "manifest-signature",
       doc(lambda d: d["files"][2].update({"crypt-mode": "sign-only"})))
simple("signature_without_fingerprint", "manifest-fingerprint",
       doc(lambda d: d.update(signature="0" * 64)))
simple("notes_no_text", "manifest-unprotected", unprotected(notes=1))
simple("fingerprint_short", "manifest-fingerprint",
       unprotected(key__fingerprint="aa:bb"))
simple("upid_malformed", "manifest-verify", unprotected(
    verify_state={"state": "ok", "upid": GOOD_UPID[:-1]}))
simple("verify_state_unknown", "manifest-verify", unprotected(
    verify_state={"state": "fine", "upid": GOOD_UPID}))
simple("stats_incomplete", "manifest-unprotected",
       unprotected(chunk_upload_stats={"count": 1}))
simple("encrypted_manifest", "manifest-encrypted", lambda s: s.store.update({
    f"{ONE}/index.json.blob": pbskey.ENC + bytes(36)}))
simple("no_manifest", "manifest-missing",
       lambda s: (s.docs.pop(ONE)))
simple("unlisted", "file-unlisted",
       lambda s: s.docs[ONE]["files"].pop())
simple("listed_and_missing", "file-missing",
       lambda s: s.store.pop("/".join(CONF)))
simple("archive_without_catalog", "manifest-catalog file-unlisted",
       lambda s: s.docs[TWO]["files"].pop())
simple("metadata_without_payload", "manifest-order file-unlisted",
       lambda s: s.docs[ONE]["files"].pop(0))


# What is where.

def put(name, data=b""):
    return lambda s: s.store.update({name: data})


def owner(text):
    return put("host/h1/owner", text)


for _i, _text in enumerate([b"", b"root\n", b"root@pam", b"root@pam\nx\n",
                            b"ro ot@pam\n", b"a:b@pam\n", b"root@pam!\n",
                            b"root@p m\n", b"\xff@pam\n", b"@pam\n"]):
    simple(f"owner_{_i}", "owner-syntax", owner(_text))
simple("no_owner", "owner-missing", lambda s: s.store.pop("host/h1/owner"))
simple("no_marker", "namespace-marker",
       lambda s: s.store.pop("ns/a/.namespace"))
simple("marker_with_content", "namespace-marker",
       put("ns/a/ns/b/.namespace", b"x"))
simple("protected_with_content", "protected-empty",
       put(f"{ONE}/.protected", b"x"))
simple("in_use_no_json", "in-use", put(".in-use", b"host"))
simple("in_use_with_more", "in-use", put(".in-use", b'{"pid":"1"}'))
simple("time_that_never_was", "snapshot-time manifest-missing",
       put("host/h1/2024-13-01T00:00:00Z/x.blob", pbsgen.blob(b"x")))
simple("temporary_object", "temp-file",
       put(f"{ONE}/index.json.tmp_abcdef", b"x"))
simple("key_beside", "stray-key", put("!store/.cnt/x/y", b"x"))
simple("key_in_the_wrong_place", "stray-key",
       put(f"!store/.cnt/.chunks/0000/{0:064}", b"x"))
simple("key_at_the_top", "stray-key", put("!store/lock", b"x"))
simple("key_of_a_directory", "stray-key", put("!store/.cnt/host/h1/"))
simple("key_outside", "stray-key", put("!storage/.in-use", b"{}"))
simple("key_after_the_test", "stray-key", put("!store/.s3-client-test"))
simple("chunk_with_suffix", "stray-key",
       put(f".chunks/0000/{0:064}.using"))
simple("file_of_another_kind", "stray-key", put(f"{ONE}/root.pxar", b"x"))
simple("type_unknown", "stray-key", put("lxc/1/owner", b"root@pam\n"))
simple("group_without_owner_only_notes", "owner-missing",
       put("host/h2/notes", b"x"))


@wrong("namespace-depth")
def eight_levels(s):
    top = ""
    for _ in range(8):
        top += "ns/n/"
        s.store[top + ".namespace"] = b""


@wrong("namespace-length")
def long_namespace(s):
    top = ""
    for _ in range(3):
        top += "ns/" + 100 * "n" + "/"
        s.store[top + ".namespace"] = b""


# Archives.

def mpxar(rule, name, old, new):
    """Bytes of the metadata, replaced by as many."""
    assert len(old) == len(new)
    simple(name, rule, lambda s: s.split(
        a := archive(True), stream=changed(a.out, old, new)))


def tabled(rule, name, change):
    """Another table of the root."""
    simple(name, rule, lambda s: s.split(archive(
        True, change=lambda t, start: change(t))))


def last(rule, name, fn):
    """An entry more at the end of the root."""
    simple(name, rule, lambda s: s.split(archive(True, last=fn)))


def entry_of(mode=0o010600, **kw):
    return pbsgen.entry(mode, **kw)


def rec(kind, *numbers):
    return pbsgen.record(kind, struct.pack(f"<{len(numbers)}Q", *numbers))


def with_attributes(*records):
    return lambda a: a.raw(b"z", entry_of() + b"".join(records))


def replace(t, i, **kw):
    h, offset, size = t[i]
    t[i] = kw.get("h", h), kw.get("offset", offset), kw.get("size", size)
    return t


tabled("goodbye-tree", "table_backwards", lambda t: t[::-1])
tabled("goodbye-tree", "table_of_two_swapped",
       lambda t: [t[1], t[0], *t[2:]])
tabled("goodbye-hash", "hash_of_one",
       lambda t: replace(t, 0, h=t[0][0] - 1))
tabled("goodbye-offset", "offset_of_one",
       lambda t: replace(t, 1, offset=t[1][1] - 1))
tabled("goodbye-size", "size_of_one",
       lambda t: replace(t, 1, size=t[1][2] + 1))
tabled("goodbye-count", "item_less", lambda t: t[1:])
tabled("goodbye-count", "item_more", lambda t: t + t[-1:])


@wrong("goodbye-tail")
def root_tail_from_its_entry(s):
    a = archive(True)
    offset, = struct.unpack("<Q", a.out[-16:-8])
    a.out[-16:-8] = struct.pack("<Q", offset - 24)
    s.split(a)


@wrong("goodbye-tail")
def tail_size(s):
    a = archive(True)
    a.out[-8:] = struct.pack("<Q", struct.unpack("<Q", a.out[-8:])[0] - 24)
    s.split(a)


last("pxar-order", "out_of_order", lambda a: a.raw(b"c", entry_of()))
last("pxar-order", "name_twice", lambda a: a.raw(b"m", entry_of()))
last("pxar-name", "name_with_slash", lambda a: a.raw(b"z/z", entry_of()))
last("pxar-name", "name_with_nul", lambda a: a.raw(b"z\0z", entry_of()))
last("pxar-name", "name_too_long", lambda a: a.raw(b"z" * 4097, entry_of()))
mpxar("pxar-name", "name_without_nul", b"\x12" + bytes(7) + b"m\0",
      b"\x12" + bytes(7) + b"mm")
simple("name_dots", "pxar-name", lambda s: s.split(archive(
    True, last=lambda a: a.raw(b"..", entry_of()))))
last("pxar-hardlink", "link_to_nothing",
     lambda a: a.hardlink(b"z", b"d/a", 24))
last("pxar-hardlink", "link_by_another_name",
     lambda a: a.hardlink(b"z", b"d/b", a.file(b"y", b"")))
last("pxar-hardlink", "link_forward",
     lambda a: a.hardlink(b"z", b"d/a", len(a.out) + 100))
last("pxar-entry", "old_entry", lambda a: a.raw(b"z", pbsgen.record(
    fmtpxar.ENTRY_V1, struct.pack("<QQIIQ", 0o010600, 0, 0, 0, 0))))
last("pxar-entry", "nanoseconds",
     lambda a: a.raw(b"z", entry_of(mtime=(0, 1000000000))))
last("pxar-entry", "mode_without_type",
     lambda a: a.raw(b"z", entry_of(0o644)))
last("pxar-attributes", "capabilities_before_xattr", with_attributes(
    pbsgen.record(fmtpxar.FCAPS, b"1234"),
    pbsgen.record(pbsgen.XATTR, b"user.x\0y")))
last("pxar-attributes", "group_obj_twice", with_attributes(
    *2 * [rec(fmtpxar.ACL_GROUP_OBJ, 7)]))
last("pxar-attributes", "projid_of_four_bytes",
     with_attributes(pbsgen.record(fmtpxar.PROJID, bytes(4))))
last("pxar-acl", "permissions_of_8",
     with_attributes(rec(fmtpxar.ACL_USER, 1, 8)))
last("pxar-acl", "id_too_large",
     with_attributes(rec(fmtpxar.ACL_USER, 1 << 32, 7)))
last("pxar-acl", "ids_not_sorted", with_attributes(
    rec(fmtpxar.ACL_USER, 2, 7), rec(fmtpxar.ACL_USER, 1, 7)))
last("pxar-acl", "id_twice", with_attributes(
    rec(fmtpxar.ACL_DEFAULT_GROUP, 2, 7), rec(fmtpxar.ACL_DEFAULT_GROUP,
                                              2, 6)))
last("pxar-acl", "group_obj_not_set",
     with_attributes(rec(fmtpxar.ACL_GROUP_OBJ, fmtpxar.UNSET)))
last("pxar-acl", "default_of_9",
     with_attributes(rec(fmtpxar.ACL_DEFAULT, 7, 9, 7, fmtpxar.UNSET)))
last("pxar-xattr", "xattr_of_the_kernel", with_attributes(
    pbsgen.record(pbsgen.XATTR, b"system.posix_acl_access\0x")))
last("pxar-xattr", "xattr_without_nul",
     with_attributes(pbsgen.record(pbsgen.XATTR, b"user.x")))
last("pxar-xattr", "xattr_too_long", with_attributes(
    pbsgen.record(pbsgen.XATTR, b"user.x\0" + bytes(65800))))
mpxar("pxar-symlink", "target_without_nul",
      *(struct.pack("<QQ", pbsgen.SYMLINK, 20) + t for t in
        (b"d/a\0", b"d/aa")))
last("pxar-content", "content_in_metadata", lambda a: a.raw(
    b"z", entry_of(0o100644) + pbsgen.record(pbsgen.PAYLOAD, b"x")))
last("pxar-content", "symlink_without_target", lambda a: a.raw(
    b"z", entry_of(0o120777) + pbsgen.record(pbsgen.DEVICE, bytes(16))))
last("pxar-content", "device_of_8_bytes", lambda a: a.raw(
    b"z", entry_of(0o020600) + pbsgen.record(pbsgen.DEVICE, bytes(8))))
last("pxar-record", "unknown_record",
     lambda a: a.raw(b"z", entry_of() + pbsgen.record(12345, b"x")))
simple("bytes_behind", "pxar-end", lambda s: s.split(
    a := archive(True), stream=bytes(a.out) + b"x"))
simple("cut_archive", "pxar-record", lambda s: s.split(
    a := archive(True), stream=bytes(a.out[:-1])))
simple("no_version", "pxar-version", lambda s: s.split(
    a := archive(True), stream=bytes(a.out[24:])))
mpxar("pxar-version", "version_3",
      b"\x18" + bytes(7) + b"\x02", b"\x18" + bytes(7) + b"\x03")
simple("version_in_one_stream", "pxar-version", lambda s: s.dynamic(
    TWO, "root.pxar.didx", archive(True).out))
simple("root_is_a_file", "pxar-root", lambda s: s.split(
    a := archive(True), stream=changed(
        a.out, struct.pack("<Q", 0o40755), struct.pack("<Q", 0o100755))))


# The payload.

def ref(offset, size):
    return struct.pack("<QQQQ", pbsgen.PAYLOAD_REF, 32, offset, size)


mpxar("ref-order", "the_same_twice", ref(35, 0), ref(16, 0))
mpxar("ref-order", "in_the_start_mark", ref(16, 3), ref(0, 3))
mpxar("payload-header", "size_of_a_reference",
      ref(35, 0), ref(35, 1))
simple("payload_without_start", "payload-start", lambda s: s.split(
    a := archive(True), payload=b"\0" + bytes(a.payload[1:])))
simple("payload_without_tail", "payload-tail", lambda s: s.split(
    a := archive(True), payload=bytes(a.payload[:-16])))
simple("payload_empty", "payload-start", lambda s: s.split(
    archive(True), payload=b"x"))
simple("payload_of_another_size", "payload-header", lambda s: s.split(
    a := archive(True), payload=changed(
        a.payload, struct.pack("<QQ", pbsgen.PAYLOAD, 19),
        struct.pack("<QQ", pbsgen.PAYLOAD, 20))))
simple("payload_cut", "payload-range", lambda s: s.split(
    a := archive(True), payload=bytes(a.payload[:2000] + a.payload[-16:])))


# Catalogs.

def cat(rule, name, data):
    simple(name, rule, lambda s: s.v1(archive(False), data))


cat("catalog-magic", "catalog_magic", b"x" + CATALOG[1:])
cat("catalog-archives", "archive_without_suffix", catalog(b"root.pxar"))
cat("catalog-archives", "archive_of_another_name",
    catalog(b"r00t.pxar.didx"))
cat("catalog-content", "entry_missing", catalog(names=(b"g", b"k")))
cat("catalog-content", "entries_in_another_order",
    catalog(names=(b"k", b"g", b"m")))
cat("catalog-content", "another_size", catalog(size=b"\xb7\x17"))
cat("catalog-content", "time_without_its_sign", catalog(mtime=b"\x05"))
cat("catalog-name", "empty_name", catalog(names=(b"", b"k", b"m")))
cat("catalog-offset", "absolute_offset", catalog(back=b"\x7f"))
cat("catalog-offset", "distance_0", catalog(back=b"\x00"))
cat("catalog-offset", "root_far_away",
    CATALOG[:-8] + struct.pack("<Q", 1 << 40))
cat("catalog-table", "table_too_long",
    CATALOG[:8] + bytes([CATALOG[8] + 1]) + CATALOG[9:])


def test_a_good_one():
    fmtcheck.clean(fmtcheck.Bucket(Made().objects(), "store"))


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name):
    rules, change = WRONG[name]
    s = Made()
    change(s)
    assert found(fmtcheck.Bucket(s.objects(), "store")) == rules


def test_our_own_keys_are_allowed():
    s = Made()
    put("!store/.pbs3fs/index")(s)
    fmtcheck.clean(fmtcheck.Bucket(s.objects(), "store"))


def test_after_a_crash():
    s = Made()
    put(f"{ONE}/x.tmp_didx", b"x")(s)
    s.docs.pop(TWO)
    b = fmtcheck.Bucket(s.objects(), "store")
    assert found(b) == ["manifest-missing", "temp-file"]
    assert not found(b, after_crash=True)


# Encryption.

class Sealed:
    """One encrypted snapshot, of which parts are made wrongly."""
    def __init__(self, k, **how):
        self.k = k
        data = pbsgen.noise(5000)
        raw = how.get("seal", k.seal)(pbsgen.blob(data))
        digest = how.get("digest", k.digest)(data)
        row = struct.pack("<Q", len(data)) + digest
        csum = hashlib.sha256(row).digest()
        s = Made()
        s.docs = {}
        top = "host/enc/2024-01-01T00:00:00Z"
        name = digest.hex()
        self.store = {
            "host/enc/owner": b"root@pam\n",
            f"{top}/x.didx": pbsgen.header(pbsgen.DIDX, csum) + row,
            f".chunks/{name[:4]}/{name}": raw}
        d = {"backup-id": "enc", "backup-time": 1704067200,
             "backup-type": "host", "signature": None,
             "unprotected": {"key-fingerprint": k.fingerprint},
             "files": [{"crypt-mode": how.get("mode", "encrypt"),
                        "csum": csum.hex(), "filename": "x.didx",
                        "size": len(data)}]}
        d["signature"] = how.get("sign", k.sign)(d)
        s.docs[top] = d
        s.store = self.store
        self.bucket = fmtcheck.Bucket(s.objects(), "store")


def seal_with(k, iv_len=16, aad=None, crc_at=44):
    def seal(raw):
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        iv = os.urandom(16)
        out = AESGCM(k.raw).encrypt(iv[:iv_len], raw[12:], aad)
        magic = pbskey.ENC_ZSTD if raw[:8] == pbsgen.ZSTD else pbskey.ENC
        tail = iv + out[-16:] + out[:-16]
        return magic + struct.pack("<I", zlib.crc32(tail[crc_at - 12:])) + tail
    return seal


def sign_with(k, secret):
    """As Key.sign, with another part of the key."""
    def sign(d):
        other = pbskey.Key(k.raw)
        other.id_key = secret
        return other.sign(d)
    return sign


SEALED = {
    "good": ([], lambda k: {}),
    "good_the_long_way": ([], lambda k: {"seal": seal_with(k)}),
    "iv_of_12_bytes": (["blob-tag"], lambda k: {"seal": seal_with(k, 12)}),
    "additional_data": (["blob-tag"],
                        lambda k: {"seal": seal_with(k, aad=b"x")}),
    "crc_with_iv_and_tag": (["blob-crc"],
                            lambda k: {"seal": seal_with(k, crc_at=12)}),
    "id_key_in_front": (["chunk-digest"], lambda k: {
        "digest": lambda d: hashlib.sha256(k.id_key + d).digest()}),
    "plain_digest": (["chunk-digest"], lambda k: {
        "digest": lambda d: hashlib.sha256(d).digest()}),
    "signed_with_the_key_itself": (["manifest-signature"], lambda k: {
        "sign": sign_with(k, k.raw)}),
    "encrypted_chunk_in_a_signed_index": (["crypt-kind"], lambda k: {
        "mode": "sign-only"}),
    "plain_chunk_in_an_encrypted_index": (["crypt-kind"], lambda k: {
        "seal": lambda raw: raw}),
}


@pytest.mark.parametrize("name", SEALED)
def test_sealed(name):
    k = key("key-none")
    rules, how = SEALED[name]
    assert found(Sealed(k, **how(k)).bucket, [k]) == rules


# Directories.

@pytest.fixture
def directory(tmp):
    """A good one, but for the chunk directories that are not needed."""
    top = os.path.join(tmp, "store")
    s = Made()
    s.objects()
    os.makedirs(os.path.join(top, ".chunks"))
    for name, data in s.store.items():
        if name.endswith((".in-use", ".namespace")):
            continue
        path = os.path.join(top, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as f:
            f.write(data)
    with open(os.path.join(top, ".lock"), "w"):
        pass
    for parent, _, files in os.walk(top):
        inside = os.path.relpath(parent, top).startswith(".chunks")
        os.chmod(parent, 0o750 if inside else 0o755)
        os.chown(parent, 34, 34)
        for f in files:
            os.chmod(os.path.join(parent, f), 0o644)
            os.chown(os.path.join(parent, f), 34, 34)
    fmtcheck.clean(fmtcheck.Directory(top), owner=(34, 34),
                   all_chunk_dirs=False)
    return top


def touch(path, mode=0o644):
    with open(path, "wb"):
        pass
    os.chmod(path, mode)
    os.chown(path, 34, 34)


def make(path, mode=0o755):
    os.mkdir(path)
    os.chmod(path, mode)
    os.chown(path, 34, 34)


def any_chunk(top):
    return next(os.path.join(p, f[0]) for p, _, f in
                os.walk(top + "/.chunks") if f)


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


IN_DIRECTORY = {
    "mode_of_the_top": (["mode"], lambda t: os.chmod(t, 0o750)),
    "mode_of_chunks": (["mode"], lambda t: os.chmod(t + "/.chunks", 0o755)),
    "mode_of_a_chunk_directory": (["mode"], lambda t: os.chmod(
        os.path.dirname(any_chunk(t)), 0o755)),
    "mode_of_a_chunk": (["mode"], lambda t: os.chmod(any_chunk(t), 0o600)),
    "mode_of_the_lock": (["mode"], lambda t: os.chmod(t + "/.lock", 0o600)),
    "mode_of_a_snapshot": (["mode"], lambda t: os.chmod(
        os.path.join(t, ONE), 0o700)),
    "mode_of_an_index": (["mode"], lambda t: os.chmod(
        os.path.join(t, *MPX), 0o600)),
    "owner_of_a_chunk": (["file-owner"],
                         lambda t: os.chown(any_chunk(t), 0, 34)),
    "owner_of_a_group": (["file-owner"], lambda t: os.chown(
        os.path.join(t, "host/h1"), 34, 0)),
    "no_lock": (["lock-file"], lambda t: os.unlink(t + "/.lock")),
    "lock_with_content": (["lock-file"],
                          lambda t: write(t + "/.lock", b"1")),
    "namespace_marker": (["stray-key"],
                         lambda t: touch(t + "/ns/a/.namespace")),
    "in_use": (["stray-key"], lambda t: touch(t + "/.in-use")),
    "temporary_chunk": (["temp-file"],
                        lambda t: touch(any_chunk(t) + ".tmp_Ab12Cd")),
    "temporary_index": (["temp-file"], lambda t: touch(
        os.path.join(t, ONE, "root.mpxar.tmp_didx"))),
    "directory_at_the_top": (["stray-dir"], lambda t: make(t + "/lxc")),
    "directory_in_a_snapshot": (["stray-dir"], lambda t: make(
        os.path.join(t, ONE, "x"))),
    "empty_snapshot": (["manifest-missing"], lambda t: make(
        t + "/host/h1/2025-01-01T00:00:00Z")),
    "time_that_never_was": (["manifest-missing", "snapshot-time"],
                            lambda t: make(
                                t + "/host/h1/2025-02-30T00:00:00Z")),
    "group_without_owner": (["owner-missing"],
                            lambda t: make(t + "/host/h2")),
    "empty_type_and_namespace": ([], lambda t: (make(t + "/ct"),
                                               make(t + "/ns/z"))),
    "our_own": ([], lambda t: (make(t + "/.pbs3fs", 0o700),
                               touch(t + "/.pbs3fs/x", 0o600))),
    "empty_chunk": (["chunk-empty"], lambda t: write(any_chunk(t), b"")),
}


@pytest.mark.parametrize("name", IN_DIRECTORY)
def test_in_a_directory(directory, name):
    rules, change = IN_DIRECTORY[name]
    change(directory)
    assert found(fmtcheck.Directory(directory), owner=(34, 34),
                 all_chunk_dirs=False) == rules


def test_all_chunk_directories(directory):
    store = fmtcheck.Directory(directory)
    assert found(store) == ["chunk-dirs"]
    # As many would take a minute to make.
    store.dirs = [f".chunks/{n:04x}" for n in range(65536)]
    fmtcheck.clean(store, modes=False)
    store.dirs.remove(".chunks/fffe")
    assert found(store, modes=False) == ["chunk-dirs"]


def test_every_rule_is_tested():
    """Each rule of the checkers is broken somewhere above."""
    import ast
    rules = set()
    for module in (fmtcheck, fmtpxar, fmtrules):
        with open(module.__file__) as f:
            tree = ast.parse(f.read())
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call):
                continue
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            at = {"expect": 1, "Wrong": 0, "Problem": 0}.get(name)
            if at is not None and isinstance(node.args[at], ast.Constant):
                rules.add(node.args[at].value)
    broken = set()
    for found_rules, *_ in (*WRONG.values(), *SEALED.values(),
                            *IN_DIRECTORY.values()):
        broken.update(found_rules)
    for found_rules in FOUND.values():
        broken.update(found_rules)
    assert rules - broken - {"stream-range"} == {"chunk-dirs"}
