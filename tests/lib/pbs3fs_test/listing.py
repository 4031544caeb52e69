# SPDX-License-Identifier: GPL-3.0-or-later
"""
A tree as records that can be compared: from a mount, from a tar stream, and
from the expected listings of tests/data.
"""
import base64
import errno
import grp
import hashlib
import os
import pwd
import re
import stat
import struct
import tarfile

TYPES = {stat.S_IFREG: "file", stat.S_IFDIR: "dir", stat.S_IFLNK: "symlink",
         stat.S_IFCHR: "chardev", stat.S_IFBLK: "blockdev",
         stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket"}
ACL_ACCESS = "system.posix_acl_access"
ACL_DEFAULT = "system.posix_acl_default"
CAPS = "security.capability"
OWN = "user.pbs3fs."


def sha256_file(path):
    """(size, digest), or (None, name of the error)."""
    h = hashlib.sha256()
    size = 0
    try:
        with open(path, "rb", buffering=0) as f:
            while True:
                b = f.read(1 << 20)
                if not b:
                    break
                h.update(b)
                size += len(b)
    except OSError as e:
        return None, errno.errorcode[e.errno]
    return size, h.hexdigest()


# Access control lists, as the expected listings have them.

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32


def _acl_entries(raw):
    assert raw[:4] == struct.pack("<I", 2), "version of an ACL"
    assert (len(raw) - 4) % 8 == 0
    return [struct.unpack_from("<HHI", raw, i) for i in range(4, len(raw), 8)]


def _acl_ids(entries, tag):
    return [[i, perm] for t, perm, i in entries if t == tag]


def acl_record(access, default, mode):
    """From two lists of (tag, perm, id), either None."""
    if access is None and default is None:
        return None
    rec = {"users": [], "groups": [], "default_users": [],
           "default_groups": []}
    if access is not None:
        one = {t: perm for t, perm, _ in access}
        rec["users"] = _acl_ids(access, USER)
        rec["groups"] = _acl_ids(access, GROUP)
        assert one[USER_OBJ] == mode >> 6 & 7, "owner of the ACL and mode"
        assert one[OTHER] == mode & 7, "others of the ACL and mode"
        if MASK in one:
            assert one[MASK] == mode >> 3 & 7, "mask of the ACL and mode"
            rec["group_obj"] = one[GROUP_OBJ]
        else:
            assert one[GROUP_OBJ] == mode >> 3 & 7
    if default is not None:
        one = {t: perm for t, perm, _ in default}
        rec["default"] = {
            "user_obj": one[USER_OBJ], "group_obj": one[GROUP_OBJ],
            "other": one[OTHER], "mask": one.get(MASK, "no-mask")}
        rec["default_users"] = _acl_ids(default, USER)
        rec["default_groups"] = _acl_ids(default, GROUP)
    return rec


def _xattrs(path):
    names = os.listxattr(path, follow_symlinks=False)
    return {n: os.getxattr(path, n, follow_symlinks=False) for n in names
            if not os.fsdecode(n).startswith(OWN)}


def _take_attributes(rec, xattrs, mode):
    """Sorts raw attributes into acl, fcaps and the others."""
    acls = [None, None]
    for i, name in enumerate((ACL_ACCESS, ACL_DEFAULT)):
        if name in xattrs:
            acls[i] = _acl_entries(xattrs.pop(name))
    acl = acl_record(*acls, mode)
    if acl:
        rec["acl"] = acl
    if CAPS in xattrs:
        rec["fcaps"] = xattrs.pop(CAPS).hex()
    if xattrs:
        rec["xattrs"] = {n: v.hex() for n, v in xattrs.items()}


def from_directory(top, content=True, attributes=True):
    """
    {path (bytes, "/" is top): record} of a mounted tree.  Hard links get
    "links": the sorted paths of their group.
    """
    top = os.fsencode(top)
    records, groups = {}, {}
    stack = [b""]
    while stack:
        rel = stack.pop()
        path = top + rel
        st = os.lstat(path)
        rec = {"type": TYPES[stat.S_IFMT(st.st_mode)], "mode": st.st_mode,
               "uid": st.st_uid, "gid": st.st_gid,
               "mtime": [st.st_mtime_ns // 10**9, st.st_mtime_ns % 10**9]}
        if rec["type"] == "dir":
            stack += [rel + b"/" + n for n in os.listdir(path)]
        elif rec["type"] == "symlink":
            rec["target"] = os.readlink(path)
            assert st.st_size == len(rec["target"]), path
        elif rec["type"] in ("chardev", "blockdev"):
            rec["dev"] = [os.major(st.st_rdev), os.minor(st.st_rdev)]
        elif rec["type"] == "file":
            rec["size"] = st.st_size
            if content:
                size, rec["sha256"] = sha256_file(path)
                if size is not None:
                    assert size == st.st_size, path
            groups.setdefault(st.st_ino, []).append((rel, st.st_nlink))
        if attributes:
            _take_attributes(rec, _xattrs(path), st.st_mode)
        records[rel or b"/"] = rec
    for members in groups.values():
        names = sorted(n for n, _ in members)
        for rel, nlink in members:
            assert nlink == len(names), \
                f"{rel}: {nlink} links, but the names are {names}"
            if nlink > 1:
                records[rel]["links"] = names
    return records


def _bytes(entry, key):
    """As bytes: from hex where the text would lose some, and from the
    escapes that link targets have."""
    if key + "_hex" in entry:
        return bytes.fromhex(entry[key + "_hex"])
    raw = entry[key].encode()
    if key == "target":
        raw = re.sub(rb"\\x([0-9a-f]{2})",
                     lambda m: bytes([int(m[1], 16)]), raw)
    return raw


def from_expected(pxar, content=True):
    """The same of an expected listing."""
    records, groups = {}, {}
    for e in pxar["list"]:
        path = _bytes(e, "path")
        if e["type"] == "hardlink":
            first = b"/" + _bytes(e, "link")
            rec = dict(records[first])
            groups.setdefault(first, [first]).append(path)
            assert rec["size"] == e["size"]
        else:
            rec = {"type": e["type"], "mode": int(e["mode"], 8),
                   "uid": e["uid"], "gid": e["gid"], "mtime": e["mtime"]}
            if e["type"] == "symlink":
                rec["target"] = _bytes(e, "target")
            for key in ("dev", "size", "acl", "fcaps", "xattrs"):
                if key in e:
                    rec[key] = e[key]
            if content and "sha256" in e:
                rec["sha256"] = e["sha256"]
        records[path] = rec
    for first, names in groups.items():
        for n in names:
            records[n]["links"] = sorted(names)
    return records


# Tar streams.

_SCHILY = "SCHILY.xattr."
_LIBARCHIVE = "LIBARCHIVE.xattr."
_TAGS = {"user": (USER_OBJ, USER), "group": (GROUP_OBJ, GROUP),
         "mask": (MASK, None), "other": (OTHER, None)}


def _acl_id(kind, fields):
    """The id stands last, or alone, or there is but a name."""
    who = fields[3] if len(fields) > 3 else fields[1]
    if who.isdigit():
        return int(who)
    return pwd.getpwnam(who).pw_uid if kind == "user" else \
        grp.getgrnam(who).gr_gid


def _acl_text(text):
    """user::rwx,user:name-or-id:r--[:id],..."""
    out = []
    for part in text.replace("\n", ",").split(","):
        if not part:
            continue
        fields = part.split(":")
        plain, named = _TAGS[fields[0]]
        perm = sum(v for c, v in zip(fields[2], (4, 2, 1)) if c != "-")
        if fields[1]:
            out.append((named, perm, _acl_id(fields[0], fields)))
        else:
            out.append((plain, perm, 0))
    return out


def _pax_xattrs(headers):
    """SCHILY's are raw, libarchive's own are url-encoded and in base64."""
    out = {}
    for key, value in headers.items():
        if key.startswith(_SCHILY):
            name = key[len(_SCHILY):]
            out[name] = value.encode("utf-8", "surrogateescape")
    for key, value in headers.items():
        if key.startswith(_LIBARCHIVE):
            name = key[len(_LIBARCHIVE):]
            value += "=" * (-len(value) % 4)
            out[name] = base64.b64decode(value)
    return out


def _pax_mtime(info):
    text = info.pax_headers.get("mtime")
    if text is None:
        return [int(info.mtime), 0]
    sec, _, frac = text.partition(".")
    ns = int((frac + "000000000")[:9])
    sec = int(sec)
    if text.startswith("-") and ns:
        return [sec - 1, 10**9 - ns]
    return [sec, ns]


_TAR_TYPES = {tarfile.REGTYPE: stat.S_IFREG, tarfile.AREGTYPE: stat.S_IFREG,
              tarfile.DIRTYPE: stat.S_IFDIR, tarfile.SYMTYPE: stat.S_IFLNK,
              tarfile.CHRTYPE: stat.S_IFCHR, tarfile.BLKTYPE: stat.S_IFBLK,
              tarfile.FIFOTYPE: stat.S_IFIFO}


def _tar_path(name):
    b = os.fsencode(name).strip(b"/")
    while b.startswith(b"./"):
        b = b[2:]
    return b"/" if b in (b"", b".") else b"/" + b


def _with_mask(mode, access):
    """libarchive has the owning group in the mode where stat has the mask;
    who unpacks the ACL gets both right."""
    one = {t: perm for t, perm, _ in access or ()}
    if MASK in one and mode >> 3 & 7 == one[GROUP_OBJ]:
        mode = mode & ~0o70 | one[MASK] << 3
    return mode


def from_tar(stream):
    """The same of a tar stream; sockets cannot be in one."""
    records, groups = {}, {}
    with tarfile.open(fileobj=stream, mode="r|", encoding="utf-8",
                      errors="surrogateescape") as tar:
        for info in tar:
            path = _tar_path(info.name)
            assert path not in records, path
            if info.islnk():
                first = _tar_path(info.linkname)
                records[path] = dict(records[first])
                groups.setdefault(first, [first]).append(path)
                continue
            fmt = _TAR_TYPES[info.type]
            mode = fmt | info.mode & 0o7777
            rec = {"type": TYPES[fmt], "mode": mode, "uid": info.uid,
                   "gid": info.gid, "mtime": _pax_mtime(info)}
            if info.issym():
                rec["target"] = os.fsencode(info.linkname)
            elif info.ischr() or info.isblk():
                rec["dev"] = [info.devmajor, info.devminor]
            elif info.isreg():
                rec["size"] = info.size
                h = hashlib.sha256()
                f = tar.extractfile(info)
                while True:
                    b = f.read(1 << 20)
                    if not b:
                        break
                    h.update(b)
                rec["sha256"] = h.hexdigest()
            acls = [None, None]
            for i, key in enumerate(("access", "default")):
                text = info.pax_headers.get("SCHILY.acl." + key)
                if text:
                    acls[i] = _acl_text(text)
            mode = rec["mode"] = _with_mask(mode, acls[0])
            acl = acl_record(*acls, mode)
            if acl:
                rec["acl"] = acl
            xattrs = _pax_xattrs(info.pax_headers)
            for name in (ACL_ACCESS, ACL_DEFAULT):
                xattrs.pop(name, None)
            _take_attributes(rec, xattrs, mode)
            records[path] = rec
    for first, names in groups.items():
        for n in names:
            records[n]["links"] = sorted(names)
    return records


def without_sockets(records):
    return {p: r for p, r in records.items() if r["type"] != "socket"}


# Comparing.

def _normal(rec):
    rec = dict(rec)
    if "acl" in rec:
        acl = {k: v for k, v in rec["acl"].items() if v not in (None, [])}
        for k, v in acl.items():
            if isinstance(v, list):
                acl[k] = sorted(v)
        rec["acl"] = acl
    return rec


def differences(want, got, limit=20):
    """Lines that say what differs; empty if nothing does."""
    lines = []
    for path in sorted(want.keys() - got.keys()):
        lines.append(f"{path!r}: missing")
    for path in sorted(got.keys() - want.keys()):
        lines.append(f"{path!r}: should not be there")
    for path in sorted(want.keys() & got.keys()):
        w, g = _normal(want[path]), _normal(got[path])
        for key in sorted(w.keys() | g.keys()):
            if w.get(key) != g.get(key):
                lines.append(f"{path!r} {key}: {g.get(key)!r}, "
                             f"not {w.get(key)!r}")
    if len(lines) > limit:
        lines[limit:] = [f"... and {len(lines) - limit} more"]
    return lines


def assert_same(want, got, what):
    lines = differences(want, got)
    assert not lines, f"{what}:\n" + "\n".join(lines)
