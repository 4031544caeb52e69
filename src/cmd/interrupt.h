/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_INTERRUPT_H
#define CMD_INTERRUPT_H

#include <stdatomic.h>

/** interrupt_catch(): what SIGINT and SIGTERM set from now on, for work that
 * ends cleanly when asked to; the second signal of a kind ends the process. */
const atomic_bool *interrupt_catch(void);

#endif
