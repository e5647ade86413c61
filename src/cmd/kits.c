/* SPDX-License-Identifier: Apache-2.0 */
#include "cmd/kits.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "pki/cert.h"
#include "pki/key.h"

#define COUNT(a)      (sizeof(a) / sizeof(*(a)))
#define KIT_FILES_MAX 6
#define KIT_TOKEN_MAX 32
#define SECRET_FILE   0600
#define PLAIN_FILE    0644
#define PROGRAM_FILE  0755

struct kit_file {
	const char *text; /* in kits/ */
	const char *name; /* in the device's folder */
	mode_t mode;
};

struct kit {
	const char *name;
	enum p12_form p12;
	bool encrypted; /* it can be given an encrypted key */
	struct kit_file files[KIT_FILES_MAX];
	const char *run;
};

static const struct kit kits[] = {
	{ "mosquitto", P12_NONE, true,
	    { { "mosquitto.sh", "mosquitto.sh", PROGRAM_FILE },
		{ "mosquitto-bridge.conf", "mosquitto-bridge.conf",
		    PLAIN_FILE } },
	    "mosquitto.sh sub|pub ... runs mosquitto_sub or mosquitto_pub;\n"
	    "mosquitto-bridge.conf connects a Mosquitto" },
	{ "python", P12_NONE, true,
	    { { "client.py", "client.py", PROGRAM_FILE } },
	    "python3 client.py      (apt install python3-paho-mqtt, or pip "
	    "install paho-mqtt)" },
	{ "node", P12_NONE, true,
	    { { "client.js", "client.js", PLAIN_FILE },
		{ "package.json", "package.json", PLAIN_FILE } },
	    "npm install && node client.js" },
	{ "java", P12_JAVA, true,
	    { { "Client.java", "Client.java", PLAIN_FILE },
		{ "PahoClient.java", "PahoClient.java", PLAIN_FILE },
		{ "FusesourceClient.java", "FusesourceClient.java",
		    PLAIN_FILE },
		{ "pom.xml", "pom.xml", PLAIN_FILE } },
	    "java Client.java       (JDK 11 or later, nothing else)\n"
	    "mvn -q compile exec:java      (PahoClient.java, with Eclipse "
	    "Paho)\n"
	    "FusesourceClient.java is for Debian's libmqtt-client-java" },
	{ "go", P12_NONE, false,
	    { { "main.go", "main.go", PLAIN_FILE },
		{ "go.mod", "go.mod", PLAIN_FILE },
		{ "go.sum", "go.sum", PLAIN_FILE } },
	    "go run .               (Go 1.24 or later)" },
	{ "esp32", P12_NONE, false,
	    { { "esp_CMakeLists.txt", "esp32/CMakeLists.txt", PLAIN_FILE },
		{ "esp_main_CMakeLists.txt", "esp32/main/CMakeLists.txt",
		    PLAIN_FILE },
		{ "esp_Kconfig", "esp32/main/Kconfig.projbuild", PLAIN_FILE },
		{ "esp_main.c.in", "esp32/main/main.c", PLAIN_FILE },
		{ "esp_certs.h.in", "esp32/main/certs.h", SECRET_FILE } },
	    "cd esp32 && idf.py set-target esp32 && idf.py menuconfig && "
	    "idf.py flash monitor\n"
	    "(ESP-IDF 5; the WLAN is asked for in menuconfig, Device)" },
	{ "arduino", P12_NONE, false,
	    { { "sketch.ino", "sketch/sketch.ino", PLAIN_FILE },
		{ "esp_certs.h.in", "sketch/certs.h", SECRET_FILE } },
	    "open sketch/sketch.ino in the Arduino IDE, for an ESP32; write "
	    "the WLAN into it" },
	{ "browser", P12_ANDROID, true,
	    { { "browser.txt", "browser.txt", PLAIN_FILE },
		{ "client.html", "client.html", PLAIN_FILE } },
	    "read browser.txt, which says how client.p12 is imported" },
	{ "homeassistant", P12_NONE, false,
	    { { "homeassistant.txt", "homeassistant.txt", PLAIN_FILE },
		{ "homeassistant.yaml", "homeassistant.yaml", PLAIN_FILE } },
	    "read homeassistant.txt, which says what goes where" },
};

const struct kit *
kit_find(const char *word, struct nj_why *why)
{
	char safe[TEXT_ESC];

	for (size_t i = 0; i < COUNT(kits); i++)
		if (strcmp(word, kits[i].name) == 0)
			return &kits[i];
	text_esc(safe, sizeof(safe), slice_str(word));
	why_set(why, "there is nothing for '%s'", safe);
	why_mend(why,
	    "--for takes one of: mosquitto, python, node, java, go, esp32, "
	    "arduino, browser, homeassistant");
	return NULL;
}

enum p12_form
kit_p12(const struct kit *k)
{
	return k->p12;
}

bool
kit_reads_encrypted(const struct kit *k)
{
	return k->encrypted;
}

const char *
kit_name(const struct kit *k)
{
	return k->name;
}

const char *
kit_run(const struct kit *k)
{
	return k->run;
}

/*
 * Filling in.
 */

struct filling {
	const struct batch_made *made;
	const struct kit_broker *broker;
	struct buf *out;
};

static enum nj_err
put_text(struct filling *f, const char *text)
{
	return buf_put_slice(f->out, slice_str(text));
}

static enum nj_err
put_id(struct filling *f)
{
	return put_text(f, f->made->id);
}

static enum nj_err
put_host(struct filling *f)
{
	return put_text(f, f->broker->host);
}

/* An IPv6 address is in brackets where a port follows. */
static enum nj_err
put_url_host(struct filling *f)
{
	bool v6 = strchr(f->broker->host, ':') != NULL;

	return buf_printf(f->out, v6 ? "[%s]" : "%s", f->broker->host);
}

static enum nj_err
put_name(struct filling *f)
{
	return put_text(f, f->broker->name);
}

static enum nj_err
put_port(struct filling *f)
{
	return buf_printf(f->out, "%u", f->broker->port);
}

static enum nj_err
put_wss_port(struct filling *f)
{
	return buf_printf(f->out, "%u", f->broker->wss_port);
}

static enum nj_err
put_dir(struct filling *f)
{
	return put_text(f, f->made->final);
}

/* Names of packages are in small letters. */
static enum nj_err
put_package(struct filling *f)
{
	enum nj_err e = NJ_OK;

	for (const char *p = f->made->id; *p && !e; p++)
		e = buf_put_u8(f->out, (uint8_t)tolower((unsigned char)*p));
	return e;
}

/* PEM as a string of C, a line a line. */
static enum nj_err
put_c(struct filling *f, struct slice pem)
{
	enum nj_err e = NJ_OK;

	while (!e && pem.p && pem.n > 0) {
		const uint8_t *nl = memchr(pem.p, '\n', pem.n);
		size_t n = nl ? (size_t)(nl - pem.p) : pem.n;
		size_t used = n + (nl != NULL);

		e = buf_printf(f->out, "\t\"%.*s\\n\"%s", (int)n,
		    (const char *)pem.p, used < pem.n ? "\n" : "");
		pem = slice_of(pem.p + used, pem.n - used);
	}
	return e;
}

static enum nj_err
put_certs_c(struct filling *f, X509 *leaf, const STACK_OF(X509) * chain)
{
	struct buf pem = { 0 };
	enum nj_err e = pki_chain_pem(leaf, chain, &pem);

	if (!e)
		e = put_c(f, buf_slice(&pem));
	buf_fini(&pem);
	return e;
}

static enum nj_err
put_ca_c(struct filling *f)
{
	return put_certs_c(f, NULL, f->made->roots);
}

static enum nj_err
put_cert_c(struct filling *f)
{
	return put_certs_c(f, f->made->leaf, f->made->chain);
}

static enum nj_err
put_key_c(struct filling *f)
{
	struct buf pem = { 0 };
	enum nj_err e = pki_key_pem(f->made->key, NULL, PKI_KEY_PBKDF2, &pem);

	if (!e)
		e = put_c(f, buf_slice(&pem));
	buf_wipe(&pem);
	return e;
}

static const struct {
	const char *name;
	enum nj_err (*put)(struct filling *f);
} tokens[] = {
	{ "ID", put_id },
	{ "HOST", put_host },
	{ "URLHOST", put_url_host },
	{ "NAME", put_name },
	{ "PORT", put_port },
	{ "WSPORT", put_wss_port },
	{ "DIR", put_dir },
	{ "PACKAGE", put_package },
	{ "CA_C", put_ca_c },
	{ "CERT_C", put_cert_c },
	{ "KEY_C", put_key_c },
};

/* at is behind "@NJ_"; where it goes on, or NULL: no token after all. */
static const char *
put_token(struct filling *f, const char *at, enum nj_err *e)
{
	size_t n = strcspn(at, "@");

	if (at[n] != '@' || n > KIT_TOKEN_MAX)
		return NULL;
	for (size_t i = 0; i < COUNT(tokens); i++) {
		if (strlen(tokens[i].name) != n ||
		    memcmp(tokens[i].name, at, n) != 0)
			continue;
		*e = tokens[i].put(f);
		return at + n + 1;
	}
	return NULL;
}

static enum nj_err
fill(struct filling *f, const char *text)
{
	enum nj_err e = NJ_OK;

	while (!e && *text) {
		const char *at = strstr(text, "@NJ_"), *next;
		size_t n = at ? (size_t)(at - text) : strlen(text);

		if ((e = buf_put(f->out, text, n)) || !at)
			break;
		next = put_token(f, at + 4, &e);
		if (!next) {
			e = buf_put(f->out, at, 4);
			next = at + 4;
		}
		text = next;
	}
	return e;
}

static const char *
text_of(const char *name)
{
	for (const struct kit_text *t = kit_texts; t->name; t++)
		if (strcmp(t->name, name) == 0)
			return t->text;
	return NULL;
}

enum nj_err
kit_make(const struct kit *k, const struct batch_made *made,
    const struct kit_broker *broker,
    enum nj_err (*put)(void *arg, const char *name, struct slice bytes,
	mode_t mode, struct nj_why *why),
    void *arg, struct nj_why *why)
{
	enum nj_err e = NJ_OK;

	for (size_t i = 0; !e && i < KIT_FILES_MAX && k->files[i].text; i++) {
		struct buf text = { 0 };
		struct filling f = {
			.made = made, .broker = broker, .out = &text
		};
		const char *from = text_of(k->files[i].text);

		e = from ? fill(&f, from) : NJ_NOTFOUND;
		if (!e)
			e = put(arg, k->files[i].name, buf_slice(&text),
			    k->files[i].mode, why);
		buf_wipe(&text);
	}
	return e;
}
