/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CRYPT_GCRYPT_INIT_H
#define CRYPT_GCRYPT_INIT_H

/** gcrypt_init(): before any other call of libgcrypt; any thread.  0 or
 * -ENOSYS, with a message. */
int gcrypt_init(void);

#endif
