/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_STOPPING_H
#define CMD_STOPPING_H

#include <stdatomic.h>

/** stopping_begin(): from now on an interrupt sets what this returns, so that
 * work ends where it can be taken up again; a second one ends the program. */
const atomic_bool *stopping_begin(void);

#endif
