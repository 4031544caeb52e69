/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef CMD_NOTIFY_H
#define CMD_NOTIFY_H

/** notify_send(text): tell the service manager, "READY=1"; nothing happens
 * without one. */
void notify_send(const char *text);

#endif
