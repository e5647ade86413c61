/* SPDX-License-Identifier: Apache-2.0
 * act - what clients do of their own accord, drawn from the seed.
 */
#include "sim.h"

#define P(of_1000) chance(&sim->plan, of_1000)

static const char *const filters[] = { "#", "+", "t/#", "t/+", "t/0", "t/0/a",
	"+/0", "+/+/a", "/+", "u/0/a/b", "u/+/a/+", "r/#", "r/0", "t/1", "+/#",
	"$SYS/#" };
#define FILTERS (sizeof filters / sizeof filters[0])

static const char *const jobs[] = { "$share/g/s/#", "$share/g/t/#",
	"$share/h/t/#", "$share/g/s/#" };

static uint64_t
draw(uint64_t n)
{
	return pick(&sim->plan, n);
}

static void
draw_role(struct client *c)
{
	if (c->n < 2) {
		c->role = ROLE_OBSERVER;
		c->filter = c->n == 0 ? "#" : "t/#";
		c->filter_qos = (uint8_t)(2 - c->n);
		c->lasting = true;
		c->expiry_s = MQTT_EXPIRY_NEVER;
		c->publishes = 300;
	} else if (c->n < 2 + sim->is.clients / 4) {
		c->role = ROLE_WORKER;
		c->filter = jobs[draw(4)];
		c->filter_qos = (uint8_t)draw(3);
		c->publishes = 200;
		if (c->lasting)
			c->expiry_s = MQTT_EXPIRY_NEVER;
	}
}

void
act_draw(struct client *c)
{
	static const enum mqtt_ver versions[] = { MQTT5, MQTT5, MQTT5, MQTT311,
		MQTT31 };
	static const uint32_t expiries[] = { 1, 3, 10, 30, MQTT_EXPIRY_NEVER };
	static const uint16_t windows[] = { 0, 0, 1, 2, 5, 20 };
	static const uint32_t sizes[] = { 0, 0, 0, 200, 5000 };

	c->version = versions[draw(5)];
	c->lasting = P(650);
	c->login = sim->is.later && P(400);
	c->hurries = P(200);
	c->forgets = P(150);
	c->expiry_s = expiries[draw(5)];
	c->keep_alive = P(600) ? (uint16_t)(2 + draw(15)) : 0;
	c->receive_max = windows[draw(6)];
	c->alias_max = P(500) ? (uint16_t)(1 + draw(CLIENT_ALIASES)) : 0;
	c->max_packet = sizes[draw(5)];
	c->ack_ms = P(500) ? 0 : (uint32_t)draw(800);
	c->publishes = 550 + (unsigned)draw(300);
	c->next_call = sim->now + draw(3000);
	draw_role(c);
}

static void
call(struct client *c)
{
	bool clean = c->lasting ? P(c->role == ROLE_OBSERVER ? 0 : 60) : P(700);
	uint32_t expiry = c->lasting ? c->expiry_s : P(300) ? 2 : 0;

	if (sim->draining) {
		clean = false;
		expiry = MQTT_EXPIRY_NEVER;
	} else if (c->version != MQTT5) {
		clean = clean || !c->lasting;
	}
	client_call(c, clean, expiry);
}

static void
subscribe(struct client *c)
{
	struct subscription s[3] = { 0 };
	size_t n = 1 + draw(3);

	if (c->asked >= 4)
		return;
	if (c->filter) {
		s[0].filter = slice_str(c->filter);
		s[0].qos = c->filter_qos;
		n = 1;
	}
	for (size_t i = 0; i < n && !c->filter; i++) {
		s[i].filter = slice_str(filters[draw(FILTERS)]);
		/* twice in one packet says nothing that one can check */
		for (size_t k = 0; k < i; k++)
			if (slice_eq(s[i].filter, s[k].filter)) {
				n = i;
				break;
			}
		if (n == i)
			break;
		s[i].qos = (uint8_t)draw(3);
		if (c->version != MQTT5)
			continue;
		s[i].no_local = P(300);
		s[i].retain_as_published = P(300);
		s[i].retain_handling = (uint8_t)draw(3);
	}
	client_subscribe(c, s, n, P(500) ? 1 + (uint32_t)draw(300) : 0);
}

static void
publish(struct client *c)
{
	unsigned topic = (unsigned)draw(TOPICS);

	client_publish(
	    c, topic, (uint8_t)draw(3), topics[topic][0] == 'r' && P(600));
}

/* What a network does to a connection. */
static bool
trouble(struct client *c)
{
	struct nconn *conn = c->conn;

	if (P(sim->is.cut)) {
		net_cut(conn);
	} else if (P(sim->is.hole)) {
		if (P(500)) {
			/* it knows, and calls again */
			c->state = AWAY;
			client_lose(c);
			net_abandon(conn, P(700));
		} else {
			conn->hole = true;
		}
	} else if (P(sim->is.stall)) {
		c->stalled_until = sim->now + draw(8000);
	} else {
		return false;
	}
	return true;
}

static void
leave(struct client *c)
{
	static const uint8_t codes[] = { 0, 0, 0, 4 };
	bool expire = c->role == ROLE_BOTH && P(100);

	if (P(700))
		client_disconnect(c, codes[draw(4)], expire);
	client_leave(c, P(700));
}

static void
do_something(struct client *c)
{
	unsigned x = (unsigned)draw(1000);

	if (trouble(c))
		return;
	if (c->filter && !c->subscribed && c->asked == 0)
		subscribe(c);
	else if (x < c->publishes)
		publish(c);
	else if (x < 900 && !c->filter)
		subscribe(c);
	else if (x < 940 && !c->filter && c->asked < 4)
		client_unsubscribe(c, filters[draw(FILTERS)]);
	else if (x < 950)
		client_ping(c);
	else if (x < 960 && c->role == ROLE_BOTH)
		client_clear(c, topics[RETAINED + draw(N_RETAINED)]);
	else if (x < 975)
		leave(c);
}

void
act(struct client *c)
{
	if (c->role == ROLE_AUDITOR)
		return;
	if (c->state == AWAY) {
		if (sim->now >= c->next_call)
			call(c);
		return;
	}
	if (sim->draining || sim->now < c->stalled_until)
		return;
	if (c->state == CALLING) {
		if (c->hurries && !c->hurried) {
			c->hurried = true;
			client_publish(c, (unsigned)draw(TOPICS), 0, false);
			if (!c->filter)
				subscribe(c);
		}
		return;
	}
	if (sim->now < c->next_act)
		return;
	c->next_act = sim->now + draw(150);
	do_something(c);
}
