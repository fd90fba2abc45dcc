/*
 * scraper PORT INTERVAL_MS TIMEOUT_MS GROUP: a Prometheus that never waits for a hung target longer than it said.
 *
 * For each scrape of /metrics on the loopback one line, and after it the page:
 *
 *   scrape AT_NS LATE_NS LATENCY_NS answered|refused|timeout CPU_US PACE_NS LENGTH\n
 *
 * AT_NS is CLOCK_MONOTONIC at its start, LATE_NS how much later that was than it wanted: what the measuring itself
 * suffers. CPU_US is what all processes in the target's control group have burnt by then. PACE_NS is the CPU time of a
 * fixed piece of work, with which the CPU of an emulated machine on a busy host is compared with a real one; that is
 * what `scraper pace` prints, for the host. LENGTH is the size of what follows.
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

/* Read through a descriptor kept from before the fault: who measures must not wait for a lock of the control groups. */
static unsigned long long cpu_burnt(int stat)
{
    char text[4096];
    unsigned long long burnt;
    ssize_t got = pread(stat, text, sizeof text - 1, 0);
    if (got < 0)
        die("cpu.stat");
    text[got] = '\0';
    if (sscanf(text, "usage_usec %llu", &burnt) != 1) {
        fprintf(stderr, "scraper: no usage_usec in cpu.stat\n");
        exit(1);
    }
    return burnt;
}

/* What an exporter does all day: files of /proc. */
static uint64_t pace(void)
{
    uint64_t start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    for (int i = 0; i < 50; i++) {
        char text[64];
        int file = open("/proc/self/schedstat", O_RDONLY | O_CLOEXEC);
        if (file < 0 || read(file, text, sizeof text) <= 0)
            die("schedstat");
        close(file);
    }
    return clock_ns(CLOCK_THREAD_CPUTIME_ID) - start;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "pace") == 0) {
        for (int i = 0; i < 101; i++)
            printf("%" PRIu64 "\n", pace());
        return 0;
    }
    if (argc != 5) {
        fprintf(stderr, "usage: scraper PORT INTERVAL_MS TIMEOUT_MS GROUP\n");
        return 2;
    }
    uint16_t port = (uint16_t)number("PORT", argv[1], 1, 65535);
    uint64_t interval = (uint64_t)number("INTERVAL_MS", argv[2], 10, 60000) * MILLIS;
    uint64_t timeout = (uint64_t)number("TIMEOUT_MS", argv[3], 10, 60000) * MILLIS;
    char path[256];
    snprintf(path, sizeof path, "%s/cpu.stat", argv[4]);
    int stat = open(path, O_RDONLY | O_CLOEXEC);
    if (stat < 0)
        die(path);
    /* As the agent: CPU 1 is where faults spin. */
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    sched_setaffinity(0, sizeof first, &first);
    mlockall(MCL_CURRENT | MCL_FUTURE);
    for (uint64_t wanted = now_ns();;) {
        size_t length;
        uint64_t late = now_ns() - wanted;
        unsigned long long burnt = cpu_burnt(stat);
        uint64_t paced = pace();
        uint64_t at = now_ns();
        const char *outcome = scrape(port, timeout, at + timeout, &length);
        uint64_t latency = now_ns() - at;
        const char *body = strstr(page, "\r\n\r\n");
        bool whole = strcmp(outcome, "answered") == 0 && body != NULL;
        length = whole ? length - (size_t)(body + 4 - page) : 0;
        printf("scrape %" PRIu64 " %" PRIu64 " %" PRIu64 " %s %llu %" PRIu64 " %zu\n", at, late, latency,
               outcome, burnt, paced, length);
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
