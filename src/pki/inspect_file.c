/* SPDX-License-Identifier: Apache-2.0
 * inspect_file - what is wrong with a file, before what is in it counts.
 */
#include <stdio.h>
#include <string.h>

#include "pki/inspect.h"

static unsigned
items_of(const struct pki_inspection *in, unsigned source, int kind)
{
	unsigned n = 0;

	for (unsigned i = 0; i < in->items->n; i++)
		n += in->items->v[i].source == source &&
		    (kind < 0 || in->items->v[i].kind == (unsigned)kind);
	return n;
}

/* Its contents can be read by us, and not by others. */
static void
judge_form(struct pki_inspection *in, unsigned i)
{
	const struct pki_source *src = &in->items->sources[i];
	bool der = src->form.kind == PKI_FORM_DER;
	unsigned n = items_of(in, i, -1);
	struct nj_why *why;

	if (n == 0)
		return;
	if (src->container == PKI_IN_FILE && src->form.kind != PKI_FORM_PEM) {
		why = pki_inspect_add(in, der ? PKI_DOUBT : PKI_FAULT,
		    der ? "der" : "no-begin", NULL, i);
		why_set(why, "'%s' %s", src->name,
		    der ? "is in DER form (binary); Nightjar, Mosquitto and "
			  "most MQTT clients want PEM"
			: "has no -----BEGIN and -----END lines around its "
			  "letters");
		why_mend(why,
		    "write it anew: nightjar inspect --pem%s '%s' >NEW",
		    items_of(in, i, PKI_ITEM_KEY) ? "-key" : "", src->name);
	}
	if (src->container == PKI_IN_PKCS7) {
		why = pki_inspect_add(in, PKI_DOUBT, "pkcs7", NULL, i);
		why_set(why,
		    "'%s' is a PKCS#7 file (.p7b), as Windows and many CAs "
		    "hand out; Nightjar, Mosquitto and MQTT clients want PEM",
		    src->name);
		why_mend(why, "write it anew: nightjar inspect --pem '%s' >NEW",
		    src->name);
	}
	if (src->form.bom && src->plainly == n) {
		why = pki_inspect_add(in, PKI_DOUBT, "bom", NULL, i);
		why_set(why,
		    "'%s' begins with a byte order mark (BOM), as Windows "
		    "editors write it: OpenSSL 3 takes it; older ones, Go and "
		    "others do not see what is behind it",
		    src->name);
		why_mend(why,
		    "write it anew: nightjar inspect --pem%s '%s' >NEW",
		    items_of(in, i, PKI_ITEM_KEY) ? "-key" : "", src->name);
	}
	if (src->form.crlf)
		why_set(pki_inspect_add(in, PKI_NOTE, "crlf", NULL, i),
		    "'%s' has Windows line ends (CR LF); OpenSSL takes them, "
		    "some small devices do not",
		    src->name);
}

/* What we mended in reading, others trip over. */
static void
judge_spoiled(struct pki_inspection *in, unsigned i)
{
	const struct pki_source *src = &in->items->sources[i];
	const struct pki_form *f = &src->form;
	unsigned n = items_of(in, i, -1);
	struct nj_why *why;

	if (f->kind != PKI_FORM_PEM || n == 0 || src->plainly >= n ||
	    (src->container == PKI_IN_PKCS7 && src->plainly > 0))
		return;
	why = pki_inspect_add(in, PKI_FAULT,
	    f->utf16	      ? "utf-16"
		: f->bom      ? "bom"
		: f->one_line ? "one-line"
		: f->dashes   ? "dashes"
		: f->cut      ? "cut"
		: f->glued    ? "glued"
		: f->joined   ? "joined"
			      : "form",
	    NULL, i);
	why_set(why, "'%s' %s: programs find %u of the %u parts in it",
	    src->name,
	    f->utf16	      ? "is UTF-16 text, as PowerShell and Notepad "
				"write it"
		: f->bom      ? "begins with a byte order mark (BOM), as "
				"Windows editors write it"
		: f->one_line ? "has its line ends written out as \\n"
		: f->dashes   ? "has no five plain hyphens on each side of "
				"BEGIN or END"
		: f->cut      ? "is cut off: a BEGIN line has no END line"
		: f->glued    ? "has a BEGIN behind an END on one line: files "
				"were put together, the first of which had no "
				"line end"
		: f->joined   ? "has blanks where its line ends were, as "
				"variables and web forms leave them"
		: f->indented ? "has BEGIN lines that do not start at the left "
				"edge"
			      : "has lines that programs cannot read",
	    src->plainly, n);
	why_mend(why, "write it anew: nightjar inspect --pem%s '%s' >NEW",
	    items_of(in, i, PKI_ITEM_KEY) ? "-key" : "", src->name);
}

static void
judge_unread(struct pki_inspection *in, unsigned i)
{
	const struct pki_source *src = &in->items->sources[i];
	struct nj_why *why;

	if (src->unread == 0 || src->why.what[0])
		return;
	why = pki_inspect_add(in, PKI_FAULT, "damaged", NULL, i);
	why_set(why,
	    "'%s': %u of its parts %s damaged or of an unknown kind, "
	    "first a %s",
	    src->name, src->unread, src->unread == 1 ? "is" : "are",
	    src->unread_label);
	why_mend(why, "copy the file again from where it came");
}

static void
judge_password(struct pki_inspection *in, unsigned i)
{
	const struct pki_source *src = &in->items->sources[i];
	struct nj_why *why;

	if (src->p12_wrong_password) {
		why = pki_inspect_add(in, PKI_FAULT, "password", NULL, i);
		why_set(why,
		    "'%s' is a PKCS#12 file, and no password that was given "
		    "opens it",
		    src->name);
		why_mend(why,
		    "give its own: nightjar inspect --password-file FILE '%s'; "
		    "where it is lost, make a new one: nightjar ca device ID "
		    "--again",
		    src->name);
	}
	if (src->p12_unreadable) {
		why = pki_inspect_add(in, PKI_FAULT, "p12-cipher", NULL, i);
		why_set(why,
		    "'%s' is a PKCS#12 file whose password is right, and whose "
		    "encryption (%s) this machine does not know",
		    src->name, src->p12_ciphers);
		why_mend(why, "have it made again with AES-256");
	}
}

/* Which programs read it. */
static void
judge_p12(struct pki_inspection *in, unsigned i)
{
	const struct pki_source *src = &in->items->sources[i];
	bool aes = strstr(src->p12_ciphers, "aes") != NULL ||
	    strstr(src->p12_ciphers, "AES") != NULL;
	bool java = false;

	judge_password(in, i);
	if (src->p12_wrong_password)
		return;
	if (strstr(src->p12_ciphers, "RC2") || strstr(src->p12_ciphers, "rc2"))
		why_set(pki_inspect_add(in, PKI_DOUBT, "p12-rc2", NULL, i),
		    "'%s' is encrypted with RC2 (40 bits), which keeps nobody "
		    "out, and which programs with OpenSSL 3 refuse "
		    "(\"legacy\", "
		    "\"unsupported\")",
		    src->name);
	else if (aes)
		why_set(pki_inspect_add(in, PKI_NOTE, "p12-aes", NULL, i),
		    "'%s' is encrypted with AES: Android up to 13, Java before "
		    "8u301 and old Windows and macOS cannot read it, and call "
		    "the password wrong",
		    src->name);
	else if (src->p12_ciphers[0])
		why_set(pki_inspect_add(in, PKI_NOTE, "p12-3des", NULL, i),
		    "'%s' is encrypted as old programs can read it, which is "
		    "weak: delete it once it is imported",
		    src->name);
	for (unsigned k = 0; k < in->items->n; k++)
		java |=
		    in->items->v[k].source == i && in->items->v[k].java_trusted;
	if (items_of(in, i, PKI_ITEM_KEY) == 0 && !java) {
		struct nj_why *why =
		    pki_inspect_add(in, PKI_DOUBT, "p12-java", NULL, i);

		why_set(why,
		    "'%s' holds certificates and no key, without the mark "
		    "that Java asks of trusted ones: keytool and Java programs "
		    "find 0 entries in it",
		    src->name);
		why_mend(why,
		    "keytool -importcert -trustcacerts -file ca.crt -keystore "
		    "NEW.p12; or: nightjar ca device ID --p12 java");
	}
}

static bool
is_named(const char *name, const char *ending)
{
	size_t n = strlen(name), k = strlen(ending);

	return n > k && strcmp(name + n - k, ending) == 0;
}

/* What the name promises. */
static void
judge_name(struct pki_inspection *in, unsigned i)
{
	const struct pki_source *src = &in->items->sources[i];
	bool key = items_of(in, i, PKI_ITEM_KEY) > 0;
	bool cert = items_of(in, i, PKI_ITEM_CERT) > 0;
	bool csr = items_of(in, i, PKI_ITEM_CSR) > 0;

	if (!src->path)
		return;
	if (is_named(src->name, ".csr") && cert && !csr)
		why_set(pki_inspect_add(in, PKI_DOUBT, "misnamed", NULL, i),
		    "'%s' is named like a certificate request and holds a "
		    "certificate, already signed: signing it again will fail",
		    src->name);
	if (is_named(src->name, ".key") && !key && (cert || csr))
		why_set(pki_inspect_add(in, PKI_DOUBT, "misnamed", NULL, i),
		    "'%s' is named like a key and holds none", src->name);
	if ((is_named(src->name, ".crt") || is_named(src->name, ".cer")) &&
	    !cert && (key || csr))
		why_set(pki_inspect_add(in, PKI_DOUBT, "misnamed", NULL, i),
		    "'%s' is named like a certificate and holds %s", src->name,
		    key ? "a key" : "a request that no CA has signed yet");
}

static void
judge_rights(struct pki_inspection *in, unsigned i)
{
	const struct pki_source *src = &in->items->sources[i];
	struct nj_why *why;

	if (!src->exposed || items_of(in, i, PKI_ITEM_KEY) == 0)
		return;
	why = pki_inspect_add(in, PKI_DOUBT, "exposed", NULL, i);
	why_set(why,
	    "'%s' holds a private key, and other users of this machine may "
	    "read it",
	    src->name);
	why_mend(why, "chmod 600 '%s'", src->name);
}

void
pki_inspect_source(struct pki_inspection *in, unsigned i)
{
	const struct pki_source *src = &in->items->sources[i];

	if (src->why.what[0]) {
		*pki_inspect_add(in, PKI_FAULT, "unreadable", NULL, i) =
		    src->why;
		return;
	}
	if (!src->has_form)
		return;
	judge_form(in, i);
	judge_spoiled(in, i);
	judge_unread(in, i);
	if (src->container == PKI_IN_PKCS12)
		judge_p12(in, i);
	judge_name(in, i);
	judge_rights(in, i);
}
