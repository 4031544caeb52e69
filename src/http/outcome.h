/* SPDX-License-Identifier: GPL-3.0-or-later */
#ifndef HTTP_OUTCOME_H
#define HTTP_OUTCOME_H

#include <curl/curl.h>

#include "http/http.h"

/** outcome_error(easy, rc, text, deadline): what curl's rc, which is no
 * success, means; text is curl's own message, "" if none. */
enum http_error outcome_error(CURL *easy, CURLcode rc, const char *text,
    deadline_t deadline);

#endif
