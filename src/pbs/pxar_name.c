/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "pbs/pxar_priv.h"

#include <string.h>

bool
pxar_name_is_valid(const char *name, size_t len)
{
	return len > 0 && memchr(name, '\0', len) == NULL &&
	    memchr(name, '/', len) == NULL &&
	    !(len == 1 && name[0] == '.') &&
	    !(len == 2 && name[0] == '.' && name[1] == '.');
}

bool
pxar_name_path_is_valid(const char *path, size_t len)
{
	const char *slash;
	size_t n;

	for (;; path += n + 1, len -= n + 1) {
		slash = memchr(path, '/', len);
		n = slash != NULL ? (size_t)(slash - path) : len;
		if (!pxar_name_is_valid(path, n))
			return false;
		if (slash == NULL)
			return true;
	}
}
