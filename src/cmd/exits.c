/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "cmd/exits.h"

#include <errno.h>
#include <string.h>

#include "repo/repo.h"

int
exits_of(int err)
{
	if (repo_is_outage(err))
		return EXIT_UNREACHABLE;
	switch (-err) {
	case 0:
		return EXIT_OK;
	case EBADE:
	case EBADMSG:
		return EXIT_DAMAGED;
	case EKEYREJECTED:	/* not the server that was expected */
		return EXIT_UNREACHABLE;
	case EDQUOT:
		return EXIT_LIMIT;
	case EACCES:
	case ENOKEY:
	case EPERM:
		return EXIT_DENIED;
	default:
		return EXIT_FAILED;
	}
}

const char *
exits_why(int err)
{
	switch (-err) {
	case EAGAIN:
		return "the store asks to slow down";
	case EBADE:
		return "the signature of the snapshot is wrong";
	case EBADMSG:
		return "damaged";
	case EDQUOT:
		return "a limit was reached";
	case EHOSTDOWN:
		return "the store cannot be reached";
	case EKEYREJECTED:
		return "the server's certificate is not trusted";
	case ENODATA:
		return "archived in cold storage";
	case ENOKEY:
		return "encrypted, and there is no key";
	case ESHUTDOWN:
		return "interrupted";
	case EUSERS:
		return "another host writes into the store";
	case ETIMEDOUT:
		return "no answer in time";
	default:
		return strerror(-err);
	}
}
