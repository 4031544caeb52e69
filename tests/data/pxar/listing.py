#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print one archive of an expected listing as the text that
tests/unit/pxar/listing.c prints of the archive itself.

listing.py EXPECTED.json.zst SNAPSHOT ARCHIVE
    listing.py plain.json.zst host/myhost/2024-01-01T00:00:07Z root.pxar.didx
"""
import json
import re
import subprocess
import sys


def escape(data):
    return ''.join(chr(c) if 0x20 < c < 0x7f and c != 0x5c else f'\\x{c:02x}'
                   for c in data)


def text(entry, key):
    """Bytes of a path or a target, which may not be UTF-8."""
    if key + '_hex' in entry:
        return escape(bytes.fromhex(entry[key + '_hex']))
    if key == 'target':  # such bytes stand escaped in targets
        return escape(re.sub(rb'\\x([0-9a-f]{2})',
                             lambda m: bytes.fromhex(m[1].decode()),
                             entry[key].encode()))
    return escape(entry[key].encode())


def acl(a):
    for key, name in (('users', 'user'), ('groups', 'group')):
        yield from (f'{name}:{i}:{perm}' for i, perm in a[key])
    if a.get('group_obj') is not None:
        yield f'group_obj:{a["group_obj"]}'
    if a.get('default'):
        keys = ('user_obj', 'group_obj', 'other', 'mask')
        perms = (a['default'][k] for k in keys)
        yield 'default:' + ':'.join('-' if p == 'no-mask' else str(p)
                                    for p in perms)
    for key, name in (('default_users', 'default_user'),
                      ('default_groups', 'default_group')):
        yield from (f'{name}:{i}:{perm}' for i, perm in a[key])


def fields(e, split):
    yield text(e, 'path')
    if e['type'] == 'hardlink':
        yield from ('link', str(e['size']), '/' + text(e, 'link'))
        return
    yield from (e['mode'], f'{e["uid"]}:{e["gid"]}',
                '{}.{:09}'.format(*e['mtime']))
    if 'flags' in e:
        yield 'flags:' + e['flags'].removeprefix('0x')
    if e['type'] == 'file':
        yield f'{e["size"]}' if split else f'{e["size"]}@{e["content_offset"]}'
    if e['type'] == 'symlink':
        yield '-> ' + text(e, 'target')
    if 'dev' in e:
        yield '{}:{}'.format(*e['dev'])
    for name, value in sorted(e.get('xattrs', {}).items()):
        yield f'xattr:{escape(name.encode())}={value}'
    if 'acl' in e:
        yield from acl(e['acl'])
    if 'fcaps' in e:
        yield 'fcaps:' + e['fcaps']


def main():
    _, expected, snapshot, archive = sys.argv
    store = json.loads(subprocess.check_output(['zstd', '-dc', expected]))
    entries, = (a['pxar']['list'] for g in store['groups'] if g['ns'] == ''
                for s in g['snapshots'] if s['snapshot'] == snapshot
                for a in s['archives'] if a['filename'] == archive)
    for e in entries:
        print('\t'.join(fields(e, '.mpxar' in archive)))


main()
