/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "crypt/gcrypt_init.h"

#include <errno.h>
#include <gcrypt.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"

#define VERSION_MIN "1.8.0"
/* Where libgcrypt has its expanded keys: some 30 ciphers at once. */
#define POOL_LEN (256u << 10)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int result;

/* The first block lies at the pool's beginning.  A hint, and only ever to
 * leave more out of a core dump. */
static void
keep_from_dumps(void)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	void *first = gcry_malloc_secure(16);

	if (first == NULL)
		return;
	(void)madvise((void *)((uintptr_t)first & ~(page - 1)), POOL_LEN,
	    MADV_DONTDUMP);
	gcry_free(first);
}

static void
init(void)
{
	if (gcry_check_version(VERSION_MIN) == NULL) {
		log_err("libgcrypt %s is too old, " VERSION_MIN " is needed",
		    gcry_check_version(NULL));
		result = -ENOSYS;
		return;
	}
	/* Another library of this process may have been first. */
	if (gcry_control(GCRYCTL_INITIALIZATION_FINISHED_P))
		return;
	/* Whoever cannot lock memory is told so by secret_new. */
	gcry_control(GCRYCTL_DISABLE_SECMEM_WARN);
	gcry_control(GCRYCTL_DISABLE_PRIV_DROP);
	gcry_control(GCRYCTL_AUTO_EXPAND_SECMEM, POOL_LEN);
	gcry_control(GCRYCTL_INIT_SECMEM, POOL_LEN, 0);
	keep_from_dumps();
	gcry_control(GCRYCTL_INITIALIZATION_FINISHED, 0);
}

int
gcrypt_init(void)
{
	pthread_once(&once, init);
	return result;
}
