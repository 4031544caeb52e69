/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "script.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 24

static void
must(bool ok, const char *what)
{
	if (!ok) {
		fprintf(stderr, "script: %s\n", what);
		abort();
	}
}

bool
script_start(struct script *s, const char *const *args, bool tls)
{
	posix_spawn_file_actions_t files;
	char prog[4096], line[64] = "";
	char python[] = "python3";
	char *argv[ARGS_MAX] = {python, prog};
	int in[2], out[2], n = 2, r;
	size_t have = 0;
	ssize_t got;

	snprintf(prog, sizeof(prog), "%s/tests/lib/s3script.py",
	    getenv("TOP_SRCDIR"));
	for (; args != NULL && *args != NULL && n < ARGS_MAX - 1; args++)
		argv[n++] = strdup(*args);
	must(pipe2(in, O_CLOEXEC) == 0 && pipe2(out, O_CLOEXEC) == 0, "pipe");
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, in[0], 0);
	posix_spawn_file_actions_adddup2(&files, out[1], 1);
	r = posix_spawnp(&s->pid, python, &files, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&files);
	while (n > 2)
		free(argv[--n]);
	close(in[0]);
	close(out[1]);
	s->in = in[1];
	while (r == 0 && have < sizeof(line) - 1 &&
	    strchr(line, '\n') == NULL &&
	    (got = read(out[0], line + have, sizeof(line) - 1 - have)) > 0)
		have += (size_t)got;
	close(out[0]);
	if (r == ENOENT) {
		script_stop(s);
		return false;
	}
	/* A server that is broken must not pass for one that is missing. */
	must(r == 0 && sscanf(line, "port %u control %u", &s->port,
	    &s->control) == 2, "no server");
	snprintf(s->url, sizeof(s->url), "%s://127.0.0.1:%u",
	    tls ? "https" : "http", s->port);
	return true;
}

void
script_stop(struct script *s)
{
	if (s->in >= 0)
		close(s->in);
	if (s->pid > 0)
		waitpid(s->pid, NULL, 0);
	s->in = -1;
	s->pid = 0;
}

int
script_skip(void)
{
	printf("1..0 # SKIP python3 is missing\n");
	return 0;
}

void
script_call(const struct script *s, const char *method, const char *path,
    const char *body, char *out, size_t size)
{
	struct sockaddr_in a = {.sin_family = AF_INET};
	char head[2048], answer[65536], *text;
	size_t n = 0, len = strlen(body);
	ssize_t got;
	int fd;

	a.sin_port = htons((uint16_t)s->control);
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(fd >= 0 &&
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0, "connect");
	snprintf(head, sizeof(head),
	    "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
	    "Content-Length: %zu\r\n\r\n", method, path, len);
	must(write(fd, head, strlen(head)) == (ssize_t)strlen(head) &&
	    write(fd, body, len) == (ssize_t)len, "write");
	while (n < sizeof(answer) - 1 &&
	    (got = read(fd, answer + n, sizeof(answer) - 1 - n)) > 0)
		n += (size_t)got;
	close(fd);
	answer[n] = '\0';
	must(strncmp(answer, "HTTP/1.1 200", 12) == 0, "control refused");
	text = strstr(answer, "\r\n\r\n");
	must(text != NULL, "no answer");
	if (out != NULL)
		snprintf(out, size, "%s", text + 4);
}

void
script_rules(const struct script *s, const char *json)
{
	script_call(s, "POST", "/_script", json, NULL, 0);
}

void
script_clear(const struct script *s)
{
	script_call(s, "DELETE", "/_script", "", NULL, 0);
	script_call(s, "DELETE", "/_counts", "", NULL, 0);
}

unsigned
script_count(const struct script *s, const char *verb)
{
	char text[4096], name[32], *at;
	unsigned n = 0;

	script_call(s, "GET", "/_counts", "", text, sizeof(text));
	snprintf(name, sizeof(name), "\"%s\": ", verb);
	at = strstr(text, name);
	must(at != NULL && sscanf(at + strlen(name), "%u", &n) == 1, "count");
	return n;
}
