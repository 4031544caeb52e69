/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* Scalars that own something release it at the end of their scope. */
#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _cleanup_free_ _cleanup_(cleanup_freep)
#define _cleanup_close_ _cleanup_(cleanup_closep)

static inline void
cleanup_freep(void *p)
{
	free(*(void **)p);
}

static inline void
cleanup_closep(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	errno = saved;
}

/** steal(&p): the pointer, leaving NULL behind, so that cleanup is disarmed. */
#define steal(pp)                                                              \
	({                                                                     \
		__typeof__(*(pp)) steal_p_ = *(pp);                            \
		*(pp) = NULL;                                                  \
		steal_p_;                                                      \
	})

#endif
