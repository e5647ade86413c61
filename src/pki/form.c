/* SPDX-License-Identifier: Apache-2.0
 */
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "pki/form.h"

#define PEM_LINE  64
#define LABEL_MAX 40
#define HEAD_LOOK 512 /* bytes looked at to tell a web page from a text */

static const uint8_t *
seek(struct slice s, const char *word)
{
	return s.p && s.n > 0 ? memmem(s.p, s.n, word, strlen(word)) : NULL;
}

static bool
begins(struct slice s, const char *word)
{
	return slice_has_prefix(s, slice_str(word));
}

static bool
is_space(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' ||
	    c == '\v';
}

static bool
is_base64(uint8_t c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	    (c >= '0' && c <= '9') || c == '+' || c == '/' || c == '=';
}

/* PowerShell's ">" and Notepad's "Unicode": with a mark, or "-" and NUL. */
static bool
is_utf16(struct slice s)
{
	if (s.n < 4)
		return false;
	return (s.p[0] == 0xFF && s.p[1] == 0xFE) ||
	    (s.p[0] == 0xFE && s.p[1] == 0xFF) ||
	    (s.p[0] == '-' && s.p[1] == 0 && s.p[2] == '-' && s.p[3] == 0);
}

/* A SEQUENCE whose length is that of the rest, which may end in a newline
 * that an editor added. */
static bool
is_der(struct slice s)
{
	size_t len = 0, head = 2;

	if (!s.p || s.n < 4 || s.p[0] != 0x30)
		return false;
	if (s.p[1] < 0x80) {
		len = s.p[1];
	} else if (s.p[1] == 0x80) {
		return true; /* indefinite: BER of a PKCS#12 */
	} else {
		size_t n = s.p[1] & 0x7F;

		if (n > 4 || s.n < 2 + n)
			return false;
		for (size_t i = 0; i < n; i++)
			len = len << 8 | s.p[2 + i];
		head += n;
	}
	return head + len <= s.n && s.n - head - len <= 2;
}

static bool
is_bare_base64(struct slice s)
{
	size_t letters = 0;

	for (size_t i = 0; s.p && i < s.n; i++) {
		if (is_base64(s.p[i]))
			letters++;
		else if (!is_space(s.p[i]))
			return false;
	}
	/* "MI" is how a SEQUENCE of more than 127 bytes begins. */
	return letters > 64 && seek(s, "MI") != NULL;
}

static enum pki_form_kind
kind_of_binary(struct slice s)
{
	static const uint8_t jks[4] = { 0xFE, 0xED, 0xFE, 0xED };
	static const uint8_t jceks[4] = { 0xCE, 0xCE, 0xCE, 0xCE };

	if (s.p && s.n >= 4 &&
	    (memcmp(s.p, jks, 4) == 0 || memcmp(s.p, jceks, 4) == 0))
		return PKI_FORM_JKS;
	return is_der(s) ? PKI_FORM_DER : PKI_FORM_OTHER;
}

/* Of text that is ASCII by now. */
static enum pki_form_kind
kind_of_text(struct slice s)
{
	struct slice head = slice_of(s.p, s.n < HEAD_LOOK ? s.n : HEAD_LOOK);

	if (seek(s, "BEGIN OPENSSH PRIVATE KEY") ||
	    begins(s, "PuTTY-User-Key-File") ||
	    seek(s, "BEGIN SSH2 PUBLIC KEY"))
		return PKI_FORM_SSH_KEY;
	if (seek(s, "BEGIN CERTIFICATE") || seek(s, "BEGIN X509 ") ||
	    seek(s, "BEGIN TRUSTED ") || seek(s, "BEGIN NEW ") ||
	    seek(s, "BEGIN PKCS") || seek(s, "BEGIN CMS") ||
	    (seek(s, "BEGIN ") && seek(s, " KEY")))
		return PKI_FORM_PEM;
	if (begins(s, "ssh-") || begins(s, "ecdsa-sha2-"))
		return PKI_FORM_SSH_PUB;
	if (seek(head, "<html") || seek(head, "<HTML") || seek(head, "<!DOC") ||
	    seek(head, "<!doc"))
		return PKI_FORM_HTML;
	if (seek(s, "Certificate:") && seek(s, "Signature Algorithm:"))
		return PKI_FORM_DUMP;
	if (is_bare_base64(s))
		return PKI_FORM_BASE64;
	return kind_of_binary(s);
}

/* UTF-16 to its low bytes, the mark left out. */
static enum nj_err
narrow(struct slice s, struct buf *out)
{
	bool big = s.p[0] == 0xFE;
	size_t at = s.p[0] >= 0xFE ? 2 : 0;
	enum nj_err e = NJ_OK;

	for (; at + 1 < s.n && !e; at += 2) {
		uint8_t low = s.p[big ? at + 1 : at];
		uint8_t high = s.p[big ? at : at + 1];

		e = buf_put_u8(out, high ? '?' : low);
	}
	return e;
}

/* Without marks, in ASCII; newlines that are written out become newlines. */
static enum nj_err
plain_text(struct slice s, struct pki_form *f, struct buf *out)
{
	enum nj_err e = NJ_OK;

	if ((f->utf16 = is_utf16(s))) {
		f->bom = s.p[0] >= 0xFE;
		return narrow(s, out);
	}
	if (s.n >= 3 && memcmp(s.p, "\xEF\xBB\xBF", 3) == 0) {
		f->bom = true;
		s.p += 3;
		s.n -= 3;
	}
	f->one_line = seek(s, "BEGIN ") && seek(s, "\\n");
	for (size_t i = 0; s.p && i < s.n && !e; i++) {
		if (f->one_line && s.p[i] == '\\' && i + 1 < s.n &&
		    (s.p[i + 1] == 'n' || s.p[i + 1] == 'r')) {
			e = buf_put_u8(out, '\n');
			i++;
		} else {
			e = buf_put_u8(out, s.p[i]);
		}
	}
	return e;
}

/* One "BEGIN LABEL" and what follows it. */
struct block {
	struct slice label, body;
	const uint8_t *rest; /* behind the block */
	bool indented, dashes, cut, glued, joined;
};

/* The END of this label, with the dashes before it left out of the body. */
static void
find_end(struct slice s, struct block *b)
{
	char word[LABEL_MAX + 8] = "END ";
	const uint8_t *end, *stop;

	memcpy(word + 4, b->label.p, b->label.n);
	word[4 + b->label.n] = '\0';
	end = seek(s, word);
	b->cut = end == NULL;
	b->rest = end ? end + strlen(word) : s.p + s.n;
	stop = end ? end : s.p + s.n;
	/* Another block begins first: this one has lost its end. */
	if (seek(slice_of(s.p, (size_t)(stop - s.p)), "BEGIN ")) {
		stop = seek(s, "BEGIN ");
		b->cut = true;
		b->rest = stop;
	}
	while (stop > s.p && (stop[-1] == '-' || stop[-1] >= 0x80))
		stop--;
	b->body = slice_of(s.p, (size_t)(stop - s.p));
}

/* The next block of text; false: there is none. */
static bool
next_block(struct slice text, const uint8_t *from, struct block *b)
{
	struct slice s = slice_of(from, (size_t)(text.p + text.n - from));
	const uint8_t *p = seek(s, "BEGIN "), *end = text.p + text.n, *q;
	size_t hyphens = 0;

	if (!p)
		return false;
	memset(b, 0, sizeof *b);
	for (q = p; q > from && q[-1] == '-'; q--)
		hyphens++;
	/* "cat a b" of a file whose last line has no end */
	b->glued = hyphens == 10;
	b->dashes = hyphens != 5 && !b->glued;
	b->indented =
	    hyphens == 5 && q > text.p && q[-1] != '\n' && q[-1] != '\r';
	p += 6;
	for (q = p; q < end &&
	     ((*q >= 'A' && *q <= 'Z') || *q == ' ' ||
		 (*q >= '0' && *q <= '9'));
	     q++)
		;
	b->label = slice_of(p, (size_t)(q - p));
	if (b->label.n > LABEL_MAX)
		b->label.n = LABEL_MAX;
	for (p = q; p < end && (*p == '-' || *p >= 0x80); p++)
		;
	b->dashes |= p - q != 5;
	find_end(slice_of(p, (size_t)(end - p)), b);
	b->joined = b->body.n > 0 && b->body.p[0] == ' ' &&
	    !memchr(b->body.p, '\n', b->body.n);
	return true;
}

static void
look_at_blocks(struct slice text, struct pki_form *f)
{
	const uint8_t *at = text.p;
	struct block b;

	while (next_block(text, at, &b)) {
		f->indented |= b.indented;
		f->dashes |= b.dashes;
		f->cut |= b.cut;
		f->glued |= b.glued;
		f->joined |= b.joined;
		at = b.rest;
	}
}

static enum nj_err
look(struct slice bytes, struct pki_form *f, struct buf *text)
{
	struct slice s;
	enum nj_err e;

	memset(f, 0, sizeof *f);
	if (bytes.n == 0)
		return NJ_OK;
	f->kind = kind_of_binary(bytes);
	if (f->kind != PKI_FORM_OTHER)
		return buf_put_slice(text, bytes);
	if ((e = plain_text(bytes, f, text)))
		return e;
	s = buf_slice(text);
	f->kind = s.n > 0 ? kind_of_text(s) : PKI_FORM_EMPTY;
	if (s.n == 0)
		return NJ_OK;
	f->crlf = seek(s, "\r\n") != NULL;
	f->cr_only = !f->crlf && seek(s, "\r") && !seek(s, "\n");
	if (f->kind == PKI_FORM_PEM)
		look_at_blocks(s, f);
	return NJ_OK;
}

struct pki_form
pki_form_of(struct slice bytes)
{
	struct pki_form f = { .kind = PKI_FORM_OTHER };
	struct buf text = { 0 };

	if (look(bytes, &f, &text))
		f.kind = PKI_FORM_OTHER;
	buf_wipe(&text);
	return f;
}

/*
 * Cleaning.
 */

static enum nj_err
put_line(struct buf *out, const char *word, struct slice label)
{
	enum nj_err e;

	if ((e = buf_put_slice(out, LIT("-----"))) ||
	    (e = buf_put_slice(out, slice_str(word))) ||
	    (e = buf_put_slice(out, label)))
		return e;
	return buf_put_slice(out, LIT("-----\n"));
}

/* "Proc-Type: 4,ENCRYPTED" and "DEK-Info: ..." of an old encrypted key, with
 * the empty line behind them; the rest of the body is left in *body. */
static enum nj_err
put_headers(struct slice *body, struct buf *out)
{
	enum nj_err e = NJ_OK;
	bool any = false;

	if (!seek(*body, "Proc-Type:"))
		return NJ_OK;
	while (body->n > 0 && !e) {
		size_t n = 0;

		while (body->n > 0 && is_space(*body->p)) {
			body->p++;
			body->n--;
		}
		while (n < body->n && body->p[n] != '\n' && body->p[n] != '\r')
			n++;
		if (!memchr(body->p, ':', n))
			break;
		any = true;
		if (!(e = buf_put_slice(out, slice_of(body->p, n))))
			e = buf_put_u8(out, '\n');
		body->p += n;
		body->n -= n;
	}
	return !e && any ? buf_put_u8(out, '\n') : e;
}

static enum nj_err
put_block(struct block *b, struct buf *out)
{
	struct slice body = b->body;
	enum nj_err e;
	size_t col = 0;

	if ((e = put_line(out, "BEGIN ", b->label)) ||
	    (e = put_headers(&body, out)))
		return e;
	for (size_t i = 0; i < body.n && !e; i++) {
		/* Quotes and commas of a program's text fall out, too. */
		if (!is_base64(body.p[i]))
			continue;
		if (col == PEM_LINE) {
			e = buf_put_u8(out, '\n');
			col = 0;
		}
		if (!e)
			e = buf_put_u8(out, body.p[i]);
		col++;
	}
	if (!e && col > 0)
		e = buf_put_u8(out, '\n');
	return e ? e : put_line(out, "END ", b->label);
}

static enum nj_err
decode_base64(struct slice s, struct buf *out)
{
	EVP_ENCODE_CTX *ctx = EVP_ENCODE_CTX_new();
	unsigned char *dst = malloc(s.n + 80);
	enum nj_err e = NJ_NOMEM;
	int n = 0, last = 0;

	if (!ctx || !dst)
		goto out;
	EVP_DecodeInit(ctx);
	e = NJ_MALFORMED;
	if (s.n < INT32_MAX &&
	    EVP_DecodeUpdate(ctx, dst, &n, s.p, (int)s.n) >= 0 &&
	    EVP_DecodeFinal(ctx, dst + n, &last) == 1)
		e = buf_put(out, dst, (size_t)n + (size_t)last);
out:
	free(dst);
	EVP_ENCODE_CTX_free(ctx);
	return e;
}

enum nj_err
pki_form_clean(struct slice bytes, struct buf *out)
{
	struct buf text = { 0 };
	struct pki_form f;
	struct block b;
	enum nj_err e = look(bytes, &f, &text);
	struct slice s = buf_slice(&text);

	if (!e && f.kind == PKI_FORM_BASE64)
		e = decode_base64(s, out);
	else if (!e && f.kind == PKI_FORM_PEM)
		for (const uint8_t *at = s.p; !e && next_block(s, at, &b);
		     at = b.rest)
			e = put_block(&b, out);
	else if (!e)
		e = buf_put_slice(out, s);
	buf_wipe(&text);
	return e;
}

/*
 * Words.
 */

#define CONVERT	     "write it anew: nightjar inspect --pem '"
#define CONVERT_TAIL "' >NEW"

static const struct kind_words {
	enum pki_form_kind kind;
	const char *what;
	const char *mend, *tail; /* the path stands between them */
} kind_words[] = {
	{ PKI_FORM_EMPTY, "is empty", "copy '", "' again from where it came" },
	{ PKI_FORM_DER, "is in DER form (binary); PEM is expected", CONVERT,
	    CONVERT_TAIL },
	{ PKI_FORM_BASE64,
	    "has no -----BEGIN and -----END lines around its letters", CONVERT,
	    CONVERT_TAIL },
	{ PKI_FORM_DUMP,
	    "is a certificate printed for people to read, not the certificate",
	    "copy the file itself, the one that '", "' was printed from" },
	{ PKI_FORM_HTML,
	    "is a web page: something else was downloaded, perhaps a login "
	    "page",
	    "download '", "' again, and look at it before using it" },
	{ PKI_FORM_JKS, "is a Java keystore (JKS)",
	    "make a PKCS#12 file of it: keytool -importkeystore -srckeystore '",
	    "' -destkeystore NEW.p12 -deststoretype PKCS12" },
	{ PKI_FORM_SSH_KEY, "is a key for SSH, which TLS programs cannot read",
	    "make one for TLS with nightjar ca device ID: '",
	    "' is of no use here" },
	{ PKI_FORM_SSH_PUB, "is a public key for SSH",
	    "make a pair for TLS with nightjar ca device ID: '",
	    "' is of no use here" },
};

/* The first thing that keeps programs from seeing the PEM in it. */
static const char *
spoiled(const struct pki_form *f)
{
	if (f->utf16)
		return "is UTF-16 text, as PowerShell and Notepad write it: "
		       "two bytes a letter";
	if (f->bom)
		return "begins with a byte order mark (BOM), as Windows "
		       "editors write it, which hides the first BEGIN line";
	if (f->one_line)
		return "has its line ends written out as \\n";
	if (f->dashes)
		return "has no five plain hyphens on each side of BEGIN or "
		       "END: a word processor or web page changed them";
	if (f->cut)
		return "is cut off: a BEGIN line has no END line";
	if (f->glued)
		return "has a BEGIN behind an END on one line: files were put "
		       "together, the first of which had no line end";
	if (f->joined)
		return "has blanks where its line ends were, as variables and "
		       "web forms leave them";
	if (f->indented)
		return "has BEGIN lines that do not start at the left edge";
	if (f->cr_only)
		return "has the line ends of an old Mac";
	return NULL;
}

/* What is in a SEQUENCE that begins with a number: PKCS#12 with 3, keys with 0
 * or 1; a certificate begins with another SEQUENCE. */
static int
der_number(struct slice s)
{
	size_t at = s.n < 2 || s.p[1] <= 0x80 ? 2 : 2u + (s.p[1] & 0x7F);

	return at + 3 <= s.n && s.p[at] == 0x02 && s.p[at + 1] == 1
	    ? s.p[at + 2]
	    : -1;
}

static bool
explain_der(const char *esc, struct slice bytes, struct nj_why *why)
{
	switch (der_number(bytes)) {
	case 3:
		why_set(why, "'%s' is a PKCS#12 file; PEM is expected", esc);
		why_mend(why,
		    "take it apart: nightjar inspect --password-file WORD "
		    "--pem '%s' >NEW.crt, and the same with --pem-key for its "
		    "key",
		    esc);
		return true;
	case 0:
	case 1:
		why_set(why,
		    "'%s' is a private key in DER form (binary); PEM is "
		    "expected",
		    esc);
		why_mend(why,
		    "write it anew: nightjar inspect --pem-key '%s' >NEW", esc);
		return true;
	default:
		return false;
	}
}

/* Files that are something else around, or in place of, what is wanted. */
static const struct wrapping {
	const char *begins, *what;
	const char *mend, *tail; /* the path stands between them */
} wrappings[] = {
	{ "LS0tLS1CRUdJTi",
	    "is PEM in base64 once more, as secrets of Kubernetes hold it",
	    "base64 -d '", "' >NEW" },
	{ "\x1f\x8b", "is compressed (gzip)", "zcat '", "' >NEW" },
	{ "PK\x03\x04", "is a ZIP archive", "unpack '",
	    "', and give the file in it" },
	{ "version https://git-lfs",
	    "is what Git keeps in the place of a large file (LFS)",
	    "git lfs pull, where '", "' came from" },
	{ "$ANSIBLE_VAULT", "is encrypted by Ansible",
	    "ansible-vault decrypt '", "'" },
	{ "-----BEGIN PGP", "is of PGP, which TLS programs cannot read",
	    "make a pair for TLS with nightjar ca device ID: '",
	    "' is of no use here" },
};

static bool
explain_wrapping(const char *esc, struct slice bytes, struct nj_why *why)
{
	for (size_t i = 0; i < sizeof wrappings / sizeof *wrappings; i++) {
		if (!begins(bytes, wrappings[i].begins))
			continue;
		why_set(why, "'%s' %s", esc, wrappings[i].what);
		why_mend(
		    why, "%s%s%s", wrappings[i].mend, esc, wrappings[i].tail);
		return true;
	}
	return false;
}

/* PEM of a kind that is not what anybody asks for. */
static bool
explain_label(const char *esc, struct slice bytes, struct nj_why *why)
{
	bool cert = seek(bytes, "BEGIN CERTIFICATE-----") != NULL;
	bool key = seek(bytes, "PRIVATE KEY-----") != NULL;

	if (!cert &&
	    (seek(bytes, "BEGIN PKCS7-----") ||
		seek(bytes, "BEGIN PKCS #7 SIGNED DATA-----") ||
		seek(bytes, "BEGIN CMS-----"))) {
		why_set(why,
		    "'%s' is a PKCS#7 file (.p7b): certificates packed as "
		    "Windows and many CAs hand them out; PEM is expected",
		    esc);
		why_mend(why, CONVERT "%s" CONVERT_TAIL, esc);
		return true;
	}
	if (cert || key || !seek(bytes, " PARAMETERS-----"))
		return false;
	if (seek(bytes, "BEGIN EC PARAMETERS-----")) {
		why_set(why,
		    "'%s' names a curve (EC PARAMETERS) and holds no key on "
		    "it: openssl ecparam was run without -genkey",
		    esc);
		why_mend(why,
		    "make a key and its certificate: nightjar ca server, "
		    "nightjar ca device ID; or run openssl ecparam -genkey "
		    "and have the certificate made anew");
	} else {
		why_set(why,
		    "'%s' holds parameters for a key exchange (DH), and no "
		    "key and no certificate",
		    esc);
		why_mend(why,
		    "nothing here needs it: give the file that was asked for "
		    "in its place");
	}
	return true;
}

bool
pki_form_explain(const char *path, struct slice bytes, struct nj_why *why)
{
	struct pki_form f = pki_form_of(bytes);
	const char *what = spoiled(&f);
	char esc[TEXT_ESC];

	(void)text_esc(esc, sizeof esc, slice_str(path));
	if (explain_wrapping(esc, bytes, why) ||
	    (!what && explain_label(esc, bytes, why)))
		return true;
	if (f.kind == PKI_FORM_DER && explain_der(esc, bytes, why))
		return true;
	for (size_t i = 0; i < sizeof kind_words / sizeof *kind_words; i++)
		if (kind_words[i].kind == f.kind) {
			why_set(why, "'%s' %s", esc, kind_words[i].what);
			why_mend(why, "%s%s%s", kind_words[i].mend, esc,
			    kind_words[i].tail);
			return true;
		}
	if (!what)
		return false;
	why_set(why, "'%s' %s", esc, what);
	if (f.cut)
		why_mend(why, "copy the whole file again from where it came");
	else
		why_mend(why, "%s%s%s", CONVERT, esc, CONVERT_TAIL);
	return true;
}
