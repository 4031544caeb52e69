/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "crypt/secret.h"

#include <errno.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"

static void
lock_pages(void *p, size_t size)
{
	static bool warned;

	/* Only a hint to the kernel; where there are no core dumps it may not
	 * know it. */
	(void)madvise(p, size, MADV_DONTDUMP);
	if (mlock(p, size) == 0 ||
	    __atomic_exchange_n(&warned, true, __ATOMIC_RELAXED))
		return;
	log_warn("cannot lock the memory that holds keys: %s; it may be "
	    "swapped out\nhint: raise the limit, as LimitMEMLOCK=1M of "
	    "systemd or ulimit -l does", strerror(errno));
}

int
secret_new(size_t len, struct secret **ret)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), size;
	struct secret *s;
	void *p;

	if (__builtin_add_overflow(len, page, &size))
		return -EOVERFLOW;
	size -= size % page;	/* room for the NUL in any case */
	s = malloc(sizeof(*s));
	if (s == NULL)
		return -ENOMEM;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED) {
		free(s);
		return -ENOMEM;
	}
	lock_pages(p, size);
	s->p = p;
	s->len = len;
	s->size = size;
	*ret = s;
	return 0;
}

int
secret_copy(const void *p, size_t len, struct secret **ret)
{
	int r = secret_new(len, ret);

	if (r == 0 && len > 0)
		memcpy((*ret)->p, p, len);
	return r;
}

void
secret_free(struct secret *s)
{
	if (s == NULL)
		return;
	explicit_bzero(s->p, s->size);
	munmap(s->p, s->size);
	free(s);
}

void
secret_freep(struct secret **s)
{
	secret_free(*s);
}

void
secret_wipe(void *p, size_t len)
{
	explicit_bzero(p, len);
}

bool
secret_equal(const void *a, const void *b, size_t len)
{
	return gnutls_memcmp(a, b, len) == 0;
}
