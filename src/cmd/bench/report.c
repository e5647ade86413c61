/* SPDX-License-Identifier: Apache-2.0
 * The results, as one line of JSON or as a table.
 */
#include <stdio.h>

#include "cmd/bench/impl.h"
#include "cmd/json.h"

static const double quantiles[] = { 0.5, 0.9, 0.99, 0.999 };
static const char *const names[] = { "p50", "p90", "p99", "p99.9" };

static void
json_latency(const struct hist *h)
{
	(void)printf(",\"latency_us\":{\"mean\":%.1f,\"min\":%.1f",
	    hist_mean(h) / 1e3, h->n ? (double)h->min / 1e3 : 0.0);
	for (size_t i = 0; i < 4; i++)
		(void)printf(",\"%s\":%.1f", names[i],
		    (double)hist_quantile(h, quantiles[i]) / 1e3);
	(void)printf(",\"max\":%.1f}", (double)h->max / 1e3);
}

static void
table_latency(const char *what, const struct hist *h)
{
	(void)printf("%-24s", what);
	for (size_t i = 0; i < 4; i++)
		(void)printf(" %s %.0f,", names[i],
		    (double)hist_quantile(h, quantiles[i]) / 1e3);
	(void)printf(" max %.0f us\n", (double)h->max / 1e3);
}

static double
per(double what, double n)
{
	return n > 0.0 ? what / n : 0.0;
}

static void
json_common(const struct bench *b)
{
	const struct opts *o = &b->o;
	struct buf host = { 0 };

	if (json_put_str(
		&host, slice_str(o->unix_path ? o->unix_path : o->host)))
		buf_fini(&host);
	(void)printf("{\"mode\":\"%s\",\"host\":%.*s,\"port\":%ld,\"tls\":%s,"
		     "\"client_certificate\":%s,\"version\":\"%s\"",
	    o->mode_name, (int)buf_len(&host), (const char *)buf_slice(&host).p,
	    o->port, b->tls ? "true" : "false", o->certfile ? "true" : "false",
	    o->version_name);
	buf_fini(&host);
}

static void
json_load(const struct bench *b, const struct load_result *r)
{
	const struct opts *o = &b->o;
	double n = (double)r->delivered;

	json_common(b);
	(void)printf(",\"pattern\":\"%s\",\"publishers\":%ld,\"subscribers\":"
		     "%ld,\"qos\":%ld,\"size\":%ld,\"window\":%ld,\"rate\":%ld",
	    o->pattern_name, o->pubs, o->subs, o->qos, o->size,
	    o->rate ? 0 : o->window, o->rate);
	(void)printf(
	    ",\"seconds\":%.3f,\"sent\":%llu,\"delivered\":%llu,"
	    "\"messages_per_second\":%.0f,\"lost\":%llu,\"duplicates\":"
	    "%llu,\"out_of_order\":%llu,\"behind_schedule\":%s",
	    r->seconds, (unsigned long long)r->sent,
	    (unsigned long long)r->delivered, per(n, r->seconds),
	    (unsigned long long)r->lost, (unsigned long long)r->repeated,
	    (unsigned long long)r->disordered, r->late ? "true" : "false");
	json_latency(&r->latency);
	if (r->metered)
		(void)printf(",\"broker_cpu_seconds\":%.6f,"
			     "\"broker_cpu_us_per_message\":%.4f,"
			     "\"broker_cpu_share\":%.3f,\"broker_rss\":%llu",
		    r->cpu_s, per(r->cpu_s * 1e6, n), per(r->cpu_s, r->seconds),
		    (unsigned long long)r->rss_after);
	(void)printf("}\n");
}

static void
table_load(const struct bench *b, const struct load_result *r)
{
	const struct opts *o = &b->o;
	double n = (double)r->delivered;

	(void)printf(
	    "%ld publishers, %ld subscribers (%s), QoS %ld, %ld bytes, "
	    "%s",
	    o->pubs, o->subs, o->pattern_name, o->qos, o->size,
	    b->tls ? "TLS, " : "");
	if (o->rate)
		(void)printf("%ld messages a second\n", o->rate);
	else
		(void)printf("up to %ld in flight each\n", o->window);
	(void)printf("%-24s %.0f a second (%llu in %.2f s)\n", "delivered",
	    per(n, r->seconds), (unsigned long long)r->delivered, r->seconds);
	(void)printf("%-24s %llu lost, %llu duplicates, %llu out of order\n",
	    "faults", (unsigned long long)r->lost,
	    (unsigned long long)r->repeated, (unsigned long long)r->disordered);
	table_latency("latency", &r->latency);
	if (r->late)
		(void)printf("%-24s sending fell behind: the rate is more than "
			     "the broker or this generator can do\n",
		    "schedule");
	if (r->metered) {
		(void)printf("%-24s %.3f s (%.0f%% of a core), %.3f us a "
			     "message\n",
		    "broker CPU", r->cpu_s, 100.0 * per(r->cpu_s, r->seconds),
		    per(r->cpu_s * 1e6, n));
		(void)printf("%-24s %.1f MiB\n", "broker memory",
		    (double)r->rss_after / 1048576.0);
	}
}

void
report_load(const struct bench *b, const struct load_result *r)
{
	if (b->o.json)
		json_load(b, r);
	else
		table_load(b, r);
}

static void
json_storm(const struct bench *b, const struct storm_result *r)
{
	double n = (double)r->done;

	json_common(b);
	(void)printf(",\"connections\":%llu,\"resumed\":%llu,\"failed\":%llu,"
		     "\"seconds\":%.3f,\"connections_per_second\":%.1f",
	    (unsigned long long)r->done, (unsigned long long)r->resumed,
	    (unsigned long long)b->failed, r->seconds, per(n, r->seconds));
	json_latency(&r->latency);
	if (r->metered)
		(void)printf(",\"broker_cpu_seconds\":%.6f,"
			     "\"broker_cpu_us_per_connection\":%.2f,"
			     "\"broker_rss_before\":%llu,\"broker_rss\":%llu",
		    r->cpu_s, per(r->cpu_s * 1e6, n),
		    (unsigned long long)r->rss_before,
		    (unsigned long long)r->rss_after);
	if (r->metered && b->o.mode == MODE_IDLE)
		(void)printf(",\"broker_bytes_per_connection\":%.0f,"
			     "\"broker_rss_closed\":%llu",
		    r->rss_each, (unsigned long long)r->rss_closed);
	(void)printf("}\n");
}

static void
table_storm(const struct bench *b, const struct storm_result *r)
{
	double n = (double)r->done;

	(void)printf("%-24s %llu in %.2f s, %.0f a second (%llu resumed, %llu "
		     "failed)\n",
	    "connections", (unsigned long long)r->done, r->seconds,
	    per(n, r->seconds), (unsigned long long)r->resumed,
	    (unsigned long long)b->failed);
	table_latency("connect to CONNACK", &r->latency);
	if (!r->metered)
		return;
	(void)printf("%-24s %.3f s, %.1f us a connection\n", "broker CPU",
	    r->cpu_s, per(r->cpu_s * 1e6, n));
	if (b->o.mode == MODE_IDLE)
		(void)printf("%-24s %.2f KiB a connection (%.1f MiB before, "
			     "%.1f MiB with them, %.1f MiB after)\n",
		    "broker memory", r->rss_each / 1024.0,
		    (double)r->rss_before / 1048576.0,
		    (double)r->rss_after / 1048576.0,
		    (double)r->rss_closed / 1048576.0);
}

void
report_storm(const struct bench *b, const struct storm_result *r)
{
	if (b->o.json)
		json_storm(b, r);
	else
		table_storm(b, r);
}

static void
json_subscribe(const struct bench *b, const struct subscribe_result *r)
{
	double n = (double)r->done;

	json_common(b);
	(void)printf(
	    ",\"subscriptions\":%llu,\"clients\":%llu,\"kind\":"
	    "\"%s\",\"seconds\":%.3f,\"subscriptions_per_second\":%.0f",
	    (unsigned long long)r->done, (unsigned long long)r->clients,
	    b->o.kind_name, r->seconds, per(n, r->seconds));
	if (r->metered)
		(void)printf(",\"broker_cpu_us_per_subscription\":%.3f,"
			     "\"broker_cpu_us_per_removal\":%.3f,"
			     "\"broker_bytes_per_subscription\":%.1f,"
			     "\"broker_rss_before\":%llu,\"broker_rss\":%llu,"
			     "\"broker_rss_after\":%llu",
		    per(r->cpu_s * 1e6, n), per(r->gone_cpu_s * 1e6, n),
		    per((double)r->rss_with - (double)r->rss_before, n),
		    (unsigned long long)r->rss_before,
		    (unsigned long long)r->rss_with,
		    (unsigned long long)r->rss_after);
	(void)printf("}\n");
}

static void
table_subscribe(const struct bench *b, const struct subscribe_result *r)
{
	double n = (double)r->done;

	(void)printf("%-24s %llu (%s) of %llu clients in %.2f s, %.0f a "
		     "second\n",
	    "subscriptions", (unsigned long long)r->done, b->o.kind_name,
	    (unsigned long long)r->clients, r->seconds, per(n, r->seconds));
	if (!r->metered)
		return;
	(void)printf("%-24s %.2f us each to make, %.2f us to forget\n",
	    "broker CPU", per(r->cpu_s * 1e6, n), per(r->gone_cpu_s * 1e6, n));
	(void)printf("%-24s %.0f bytes each (%.1f MiB before, %.1f MiB with "
		     "them, %.1f MiB after)\n",
	    "broker memory",
	    per((double)r->rss_with - (double)r->rss_before, n),
	    (double)r->rss_before / 1048576.0, (double)r->rss_with / 1048576.0,
	    (double)r->rss_after / 1048576.0);
}

void
report_subscribe(const struct bench *b, const struct subscribe_result *r)
{
	if (b->o.json)
		json_subscribe(b, r);
	else
		table_subscribe(b, r);
}
