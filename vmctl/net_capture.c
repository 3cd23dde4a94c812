/* What passes a tap, as the bytes of a classic pcap file. */
#include <stdlib.h>
#include <string.h>

#include "vmctl/net_switch_internal.h"

#define MAGIC         0xa1b2c3d4u /* stamps in microseconds */
#define LINK_ETHERNET 1u
#define SNAPLEN       65535u
#define SECOND_NS     1000000000u

struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy, snaplen, link;
};

struct record_header {
	uint32_t seconds, microseconds, captured, length;
};

static struct pv_capture *capture_new(struct pv_switch *sw, struct pv_switch_port *port, pv_capture_cb *ready,
                                      void *arg)
{
	const struct file_header header = { MAGIC, 2, 4, 0, 0, SNAPLEN, LINK_ETHERNET };
	struct pv_capture *capture = PV_NEW(struct pv_capture);

	capture->sw = sw;
	capture->port = port;
	capture->ready = ready;
	capture->arg = arg;
	capture->list = sw->config.news;
	pv_buf_add(&capture->bytes, &header, sizeof(header));
	LIST_INSERT_HEAD(&sw->captures, capture, entry);
	if (port)
		port->captures++;
	return capture;
}

struct pv_capture *pv_switch_capture(struct pv_switch *sw, pv_capture_cb *ready, void *arg)
{
	return capture_new(sw, NULL, ready, arg);
}

struct pv_capture *pv_switch_port_capture(struct pv_switch_port *port, pv_capture_cb *ready, void *arg)
{
	return capture_new(port->sw, port, ready, arg);
}

static void tell(struct pv_capture *capture)
{
	if (!capture->news && capture->ready) {
		capture->news = true;
		TAILQ_INSERT_TAIL(&capture->list->news, capture, next_news);
		if (capture->sw->config.ops.captured)
			capture->sw->config.ops.captured(capture->sw->config.arg);
	}
}

void pv_capture_list_init(struct pv_capture_list *list)
{
	TAILQ_INIT(&list->news);
}

void pv_capture_announce(struct pv_capture_list *list)
{
	struct pv_capture *capture;

	while ((capture = TAILQ_FIRST(&list->news)) != NULL) {
		TAILQ_REMOVE(&list->news, capture, next_news);
		capture->news = false;
		capture->ready(capture->arg);
	}
}

static void add(struct pv_capture *capture, const struct pv_net_frame *frame, uint64_t wall_ns)
{
	struct record_header header = { (uint32_t)(wall_ns / SECOND_NS), (uint32_t)(wall_ns % SECOND_NS / 1000),
		                        frame->len, frame->len };

	if (pv_capture_pending(capture) + sizeof(header) + frame->len > PV_CAPTURE_MAX) {
		capture->dropped++;
		return;
	}
	pv_buf_add(&capture->bytes, &header, sizeof(header));
	pv_buf_add(&capture->bytes, frame->data, frame->len);
	tell(capture);
}

void pv_switch_tap(struct pv_switch *sw, const struct pv_switch_port *port, const struct pv_net_frame *frame,
                   uint64_t now)
{
	struct pv_capture *capture;

	LIST_FOREACH (capture, &sw->captures, entry) {
		if (capture->port == port)
			add(capture, frame, now + sw->config.wall_ns);
	}
}

static void end(struct pv_capture *capture)
{
	tell(capture);
	LIST_REMOVE(capture, entry);
	if (capture->port)
		capture->port->captures--;
	capture->sw = NULL;
	capture->port = NULL;
}

void pv_switch_end_captures(struct pv_switch *sw, const struct pv_switch_port *port)
{
	struct pv_capture *capture, *next;

	for (capture = LIST_FIRST(&sw->captures); capture; capture = next) {
		next = LIST_NEXT(capture, entry);
		if (port == NULL || capture->port == port)
			end(capture);
	}
}

size_t pv_capture_pending(const struct pv_capture *capture)
{
	return capture->bytes.len - capture->taken;
}

size_t pv_capture_take(struct pv_capture *capture, struct pv_buf *out, size_t max)
{
	size_t n = pv_capture_pending(capture);

	n = n < max ? n : max;
	if (n == 0)
		return 0;
	pv_buf_add(out, capture->bytes.data + capture->taken, n);
	capture->taken += n;
	/* What was taken goes when it is the larger part: so each byte is moved once at most. */
	if (capture->taken > capture->bytes.len / 2) {
		pv_buf_drain(&capture->bytes, capture->taken);
		capture->taken = 0;
	}
	if (capture->bytes.len == 0)
		pv_buf_free(&capture->bytes);
	return n;
}

bool pv_capture_ended(const struct pv_capture *capture)
{
	return capture->sw == NULL;
}

uint64_t pv_capture_dropped(const struct pv_capture *capture)
{
	return capture->dropped;
}

void pv_capture_close(struct pv_capture *capture)
{
	if (capture == NULL)
		return;
	if (capture->sw)
		end(capture);
	if (capture->news)
		TAILQ_REMOVE(&capture->list->news, capture, next_news);
	pv_buf_free(&capture->bytes);
	free(capture);
}
