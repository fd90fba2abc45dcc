/*
 * scraper PORT INTERVAL_MS TIMEOUT_MS [pages]: a Prometheus that never waits for a hung target longer than it said.
 *
 * For each scrape of /metrics on the loopback one line, and with `pages` the page after it:
 *
 *   scrape AT_NS LATE_NS LATENCY_NS answered|refused|timeout LENGTH\n
 *
 * AT_NS is CLOCK_MONOTONIC at its start, LATE_NS how much later that was than it wanted: what the measuring itself
 * suffers. LENGTH is the size of what follows; 0 without `pages`.
 */
#include "fault.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>

#define PAGE_MAX (4U << 20)

static char page[PAGE_MAX];

static bool ready(int socket, short events, uint64_t deadline)
{
    uint64_t now = now_ns();
    struct pollfd polled = {.fd = socket, .events = events};
    return now < deadline && poll(&polled, 1, (int)((deadline - now) / MILLIS) + 1) == 1;
}

/* The outcome; `length` becomes what was read, head included. */
static const char *scrape(uint16_t port, uint64_t timeout, uint64_t deadline, size_t *length)
{
    const char *outcome = "timeout";
    struct sockaddr_in target = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    char request[256];
    /* 1.0, so that no answer is chunked. */
    int size = snprintf(request, sizeof request,
                        "GET /metrics HTTP/1.0\r\nHost: localhost\r\n"
                        "X-Prometheus-Scrape-Timeout-Seconds: %.3f\r\n\r\n",
                        (double)timeout / NANOS);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    *length = 0;
    int error = 0;
    if (connect(fd, (struct sockaddr *)&target, sizeof target) != 0 && errno != EINPROGRESS)
        error = errno;
    if (error == 0 && ready(fd, POLLOUT, deadline)) {
        socklen_t error_size = sizeof error;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_size);
        if (error == 0 && write(fd, request, (size_t)size) != size)
            error = errno;
        while (error == 0 && ready(fd, POLLIN, deadline)) {
            ssize_t got = read(fd, page + *length, PAGE_MAX - 1 - *length);
            if (got < 0) {
                error = errno;
            } else if (got == 0) {
                outcome = "answered";
                break;
            }
            *length += (size_t)got;
        }
    }
    close(fd);
    page[*length] = '\0';
    if (error != 0 || (strcmp(outcome, "answered") == 0 && strstr(page, " 200 ") == NULL))
        return "refused";
    return outcome;
}

int main(int argc, char **argv)
{
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "usage: scraper PORT INTERVAL_MS TIMEOUT_MS [pages]\n");
        return 2;
    }
    uint16_t port = (uint16_t)number("PORT", argv[1], 1, 65535);
    uint64_t interval = (uint64_t)number("INTERVAL_MS", argv[2], 10, 60000) * MILLIS;
    uint64_t timeout = (uint64_t)number("TIMEOUT_MS", argv[3], 10, 60000) * MILLIS;
    bool pages = argc == 5;
    /* As the agent: CPU 1 is where faults spin. */
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    sched_setaffinity(0, sizeof first, &first);
    mlockall(MCL_CURRENT | MCL_FUTURE);
    for (uint64_t wanted = now_ns();;) {
        size_t length;
        uint64_t at = now_ns();
        uint64_t late = at - wanted;
        const char *outcome = scrape(port, timeout, at + timeout, &length);
        uint64_t latency = now_ns() - at;
        const char *body = strstr(page, "\r\n\r\n");
        bool whole = pages && strcmp(outcome, "answered") == 0 && body != NULL;
        length = whole ? length - (size_t)(body + 4 - page) : 0;
        printf("scrape %" PRIu64 " %" PRIu64 " %" PRIu64 " %s %zu\n", at, late, latency, outcome, length);
        if (whole)
            fwrite(body + 4, 1, length, stdout);
        fflush(stdout);
        wanted = at + interval;
        uint64_t now = now_ns();
        if (now < wanted)
            sleep_ns(wanted - now);
        else
            wanted = now;
    }
}
