/*
 * peer: a milter on libmilter that rewrites recipients by a directory; the
 * yardstick beside which the benchmark measures coexistd.
 *
 * usage: peer [-b | -e | -n] SOCKET USERS.CSV PLATFORM ALTERNATE LOG
 *
 * A recipient whose residence in USERS.CSV (address,residence,...) is PLATFORM
 * is replaced by the same local part at the domain ALTERNATE, with NOTIFY and
 * ORCPT kept; an address that the file lacks is refused. Trace headers are
 * counted, a message that has passed three times is refused, one that is
 * rewritten gets one more. Each message adds one line to LOG.
 *
 *   (none)  connect, envfrom, envrcpt, header, eom: what the job needs, with
 *           the negotiation that libmilter makes by itself, as most milters do
 *   -n      the same, and the MTA is asked not to wait for answers to connect,
 *           mail and header (SMFIP_NR_CONN, SMFIP_NR_MAIL, SMFIP_NR_HDR)
 *   -e      no header callback: the envelope only, no loop check
 *   -b      eoh and body as well: a milter that looks at the content
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <ctype.h>
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>

#define TRACE_HEADER "X-Coexist-Trace"
#define MAX_PASSES 3
#define MAX_ADDRESS 512

/* One address of the directory; alternate is NULL for a mailbox here. */
struct entry {
	const char *address;
	const char *alternate; /* with its angle brackets */
};

/* A recipient that is to be rewritten. */
struct rewrite {
	char *path; /* exactly as the MTA gave it */
	const char *alternate;
	char *args;
};

/* One connection, and the message that is under way on it. */
struct session {
	char client[INET6_ADDRSTRLEN];
	char *sender;
	struct rewrite *rewrites;
	size_t n_rewrites, cap_rewrites, n_rcpts, passes, body_bytes;
};

static struct entry *table; /* open addressing; written before smfi_main only */
static size_t table_mask;
static FILE *log_file;
static int no_reply;

static void *checked(void *p)
{
	if (p == NULL)
		err(1, NULL);
	return p;
}

/* The place of an address, by its FNV-1a hash: its entry, or an empty one. */
static struct entry *slot_of(const char *address)
{
	uint64_t i = 14695981039346656037ULL;

	for (const char *p = address; *p != '\0'; p++)
		i = (i ^ (unsigned char)*p) * 1099511628211ULL;
	for (i &= table_mask; table[i].address != NULL; i = (i + 1) & table_mask)
		if (strcmp(table[i].address, address) == 0)
			break;
	return &table[i];
}

/* Looks up the path of RCPT TO, "<local@domain>" in any case. */
static const struct entry *lookup(const char *path)
{
	char key[MAX_ADDRESS];
	size_t n = strlen(path);
	const struct entry *e;

	if (n >= 2 && path[0] == '<' && path[n - 1] == '>')
		path++, n -= 2;
	if (n == 0 || n >= sizeof key)
		return NULL;
	for (size_t i = 0; i < n; i++)
		key[i] = (char)tolower((unsigned char)path[i]);
	key[n] = '\0';
	e = slot_of(key);
	return e->address != NULL ? e : NULL;
}

static void add_row(char *line, unsigned row, const char *platform, const char *alternate)
{
	char *residence = strchr(line, ','), *end, *at;
	struct entry *e;

	if (residence == NULL || strchr(line, '"') != NULL)
		errx(1, "row %u is not address,residence,...", row);
	*residence++ = '\0';
	if ((end = strpbrk(residence, ",\r\n")) != NULL)
		*end = '\0';
	if ((at = strrchr(line, '@')) == NULL)
		errx(1, "row %u: %s is not an address", row, line);
	for (char *p = line; *p != '\0'; p++)
		*p = (char)tolower((unsigned char)*p);
	e = slot_of(line);
	if (e->address != NULL)
		errx(1, "row %u: %s stands twice", row, line);
	e->address = checked(strdup(line));
	if (strcasecmp(residence, platform) == 0) {
		char *text = checked(malloc(strlen(line) + strlen(alternate) + 3));
		sprintf(text, "<%.*s@%s>", (int)(at - line), line, alternate);
		e->alternate = text;
	}
}

static void load(const char *path, const char *platform, const char *alternate)
{
	FILE *f = fopen(path, "r");
	char *line = NULL;
	size_t cap = 0, rows = 0, size = 16;
	unsigned row = 1;

	if (f == NULL)
		err(1, "open %s", path);
	while (getline(&line, &cap, f) > 0)
		rows++;
	while (size < 2 * rows)
		size *= 2;
	table = checked(calloc(size, sizeof *table));
	table_mask = size - 1;
	rewind(f);
	if (getline(&line, &cap, f) < 0)
		errx(1, "%s has no header line", path);
	while (getline(&line, &cap, f) > 0)
		add_row(line, ++row, platform, alternate);
	free(line);
	if (ferror(f) || fclose(f) != 0)
		err(1, "read %s", path);
}

static void forget_message(struct session *s)
{
	for (size_t i = 0; i < s->n_rewrites; i++) {
		free(s->rewrites[i].path);
		free(s->rewrites[i].args);
	}
	free(s->sender);
	s->sender = NULL;
	s->n_rewrites = s->n_rcpts = s->passes = s->body_bytes = 0;
}

static sfsistat on_connect(SMFICTX *ctx, char *name, _SOCK_ADDR *address)
{
	struct session *s = calloc(1, sizeof *s);

	if (s == NULL)
		return SMFIS_TEMPFAIL; /* which ends the session: no later callback lacks one */
	if (address != NULL && address->sa_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)address)->sin_addr, s->client, sizeof s->client);
	else if (address != NULL && address->sa_family == AF_INET6)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)address)->sin6_addr, s->client, sizeof s->client);
	smfi_setpriv(ctx, s);
	return no_reply ? SMFIS_NOREPLY : SMFIS_CONTINUE;
}

static sfsistat on_envfrom(SMFICTX *ctx, char **argv)
{
	struct session *s = smfi_getpriv(ctx);

	forget_message(s);
	if ((s->sender = strdup(argv[0])) == NULL)
		return SMFIS_TEMPFAIL;
	return no_reply ? SMFIS_NOREPLY : SMFIS_CONTINUE;
}

/* The arguments of the recipient's replacement: NOTIFY and ORCPT as the
 * sender gave them; without an ORCPT, one that names the original. */
static char *kept_args(char **argv)
{
	const char *notify = "", *orcpt = NULL;
	int n = (int)strlen(argv[0]) - 2, wrote;
	char *text;

	for (char **arg = argv + 1; *arg != NULL; arg++) {
		if (strncasecmp(*arg, "NOTIFY=", 7) == 0)
			notify = *arg;
		else if (strncasecmp(*arg, "ORCPT=", 6) == 0)
			orcpt = *arg;
	}
	if (orcpt != NULL)
		wrote = asprintf(&text, "%s%s%s", notify, *notify ? " " : "", orcpt);
	else
		wrote = asprintf(&text, "%s%sORCPT=rfc822;%.*s", notify, *notify ? " " : "",
		    n > 0 ? n : 0, argv[0] + 1);
	return wrote < 0 ? NULL : text;
}

static sfsistat on_envrcpt(SMFICTX *ctx, char **argv)
{
	struct session *s = smfi_getpriv(ctx);
	const struct entry *e = lookup(argv[0]);
	struct rewrite *r;

	if (e == NULL) {
		smfi_setreply(ctx, "550", "5.1.1", "no such mailbox");
		return SMFIS_REJECT;
	}
	s->n_rcpts++;
	if (e->alternate == NULL)
		return SMFIS_CONTINUE;
	if (s->n_rewrites == s->cap_rewrites) {
		size_t cap = s->cap_rewrites == 0 ? 8 : 2 * s->cap_rewrites;
		if ((r = realloc(s->rewrites, cap * sizeof *r)) == NULL)
			return SMFIS_TEMPFAIL;
		s->rewrites = r;
		s->cap_rewrites = cap;
	}
	r = &s->rewrites[s->n_rewrites++];
	r->alternate = e->alternate;
	r->path = strdup(argv[0]);
	r->args = kept_args(argv);
	return r->path != NULL && r->args != NULL ? SMFIS_CONTINUE : SMFIS_TEMPFAIL;
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	if (strcasecmp(name, TRACE_HEADER) == 0)
		((struct session *)smfi_getpriv(ctx))->passes++;
	return no_reply ? SMFIS_NOREPLY : SMFIS_CONTINUE;
}

static sfsistat on_eoh(SMFICTX *ctx)
{
	return SMFIS_CONTINUE;
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *chunk, size_t n)
{
	((struct session *)smfi_getpriv(ctx))->body_bytes += n;
	return SMFIS_CONTINUE;
}

static sfsistat on_eom(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);
	const char *id = smfi_getsymval(ctx, "i"), *verdict = "accept";
	sfsistat answer = SMFIS_CONTINUE;

	if (s->n_rewrites > 0 && s->passes >= MAX_PASSES) {
		smfi_setreply(ctx, "554", "5.4.6", "mail loop");
		verdict = "reject", answer = SMFIS_REJECT;
	} else if (s->n_rewrites > 0) {
		for (size_t i = 0; i < s->n_rewrites; i++) {
			struct rewrite *r = &s->rewrites[i];
			if (smfi_addrcpt_par(ctx, (char *)r->alternate, r->args) != MI_SUCCESS
			    || smfi_delrcpt(ctx, r->path) != MI_SUCCESS)
				return SMFIS_TEMPFAIL;
		}
		if (smfi_insheader(ctx, 0, TRACE_HEADER, "v=1; h=peer.example") != MI_SUCCESS)
			return SMFIS_TEMPFAIL;
	}
	fprintf(log_file, "queue_id=%s client=%s from=%s recipients=%zu rewritten=%zu body=%zu verdict=%s\n",
	    id != NULL ? id : "-", s->client, s->sender != NULL ? s->sender : "-",
	    s->n_rcpts, s->n_rewrites, s->body_bytes, verdict);
	forget_message(s);
	return answer;
}

static sfsistat on_abort(SMFICTX *ctx)
{
	forget_message(smfi_getpriv(ctx));
	return SMFIS_CONTINUE;
}

static sfsistat on_close(SMFICTX *ctx)
{
	struct session *s = smfi_getpriv(ctx);

	if (s != NULL) {
		forget_message(s);
		free(s->rewrites);
		free(s);
		smfi_setpriv(ctx, NULL);
	}
	return SMFIS_CONTINUE;
}

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2,
    unsigned long f3, unsigned long *pf0, unsigned long *pf1, unsigned long *pf2, unsigned long *pf3)
{
	*pf0 = SMFIF_ADDHDRS | SMFIF_ADDRCPT_PAR | SMFIF_DELRCPT;
	*pf1 = SMFIP_NR_HDR | SMFIP_NR_CONN | SMFIP_NR_MAIL | SMFIP_NOHELO | SMFIP_NOEOH | SMFIP_NOBODY
	    | SMFIP_NOUNKNOWN | SMFIP_NODATA;
	*pf2 = *pf3 = 0;
	return (f1 & *pf1) == *pf1 ? SMFIS_CONTINUE : SMFIS_REJECT;
}

int main(int argc, char **argv)
{
	struct smfiDesc milter = {
		.xxfi_name = "peer",
		.xxfi_version = SMFI_VERSION,
		.xxfi_flags = SMFIF_ADDHDRS | SMFIF_ADDRCPT_PAR | SMFIF_DELRCPT,
		.xxfi_connect = on_connect,
		.xxfi_envfrom = on_envfrom,
		.xxfi_envrcpt = on_envrcpt,
		.xxfi_header = on_header,
		.xxfi_eom = on_eom,
		.xxfi_abort = on_abort,
		.xxfi_close = on_close,
	};
	int option;

	while ((option = getopt(argc, argv, "ben")) != -1) {
		if (option == 'b')
			milter.xxfi_eoh = on_eoh, milter.xxfi_body = on_body;
		else if (option == 'e')
			milter.xxfi_header = NULL;
		else if (option == 'n')
			milter.xxfi_negotiate = on_negotiate, no_reply = 1;
		else
			optind = argc;
	}
	if (argc - optind != 5)
		errx(1, "usage: peer [-b | -e | -n] SOCKET USERS.CSV PLATFORM ALTERNATE LOG");
	argv += optind;
	load(argv[1], argv[2], argv[3]);
	if ((log_file = fopen(argv[4], "a")) == NULL)
		err(1, "open %s", argv[4]);
	setvbuf(log_file, NULL, _IOFBF, 64 * 1024);
	if (smfi_register(milter) != MI_SUCCESS)
		errx(1, "libmilter refused to register");
	if (smfi_setconn(argv[0]) != MI_SUCCESS || smfi_opensocket(1) != MI_SUCCESS)
		errx(1, "cannot listen on %s", argv[0]);
	if (smfi_main() != MI_SUCCESS)
		errx(1, "smfi_main failed");
	fclose(log_file);
	return 0;
}
