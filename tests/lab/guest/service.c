/*
 * service NAME WHAT [ARGUMENT]: a task called NAME that does WHAT five times a second, until it is killed.
 *
 *   route          deletes a route that is not there, over netlink, as a routing daemon talks (takes rtnl_mutex)
 *   link           sets the queue length of the loopback by ioctl, as a data plane configures links (rtnl_mutex)
 *   group DIR      makes and removes a control group (cgroup_mutex)
 *   append FILE    writes a byte and has it synced
 *   stat FILE      asks for its attributes, while a timer signals it ten times a second, as many runtimes do
 *   bulk           fills 256 MiB of memory once, and has three threads more
 *   map            maps and unmaps memory (its own mmap_lock)
 *   busy           uses CPU without end
 *   idle           nothing
 */
#include "fault.h"

#include <fcntl.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>

static void route(const char *unused)
{
    (void)unused;
    static int netlink = -1;
    if (netlink < 0 && (netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE)) < 0)
        die("netlink");
    struct {
        struct nlmsghdr head;
        struct rtmsg route;
    } request = {
        .head = {.nlmsg_len = sizeof request, .nlmsg_type = RTM_DELROUTE, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK},
        .route = {.rtm_family = AF_INET, .rtm_table = 77},
    };
    char answer[512];
    if (send(netlink, &request, sizeof request, 0) < 0 || recv(netlink, answer, sizeof answer, 0) < 0)
        die("route");
}

static void set_link(const char *unused)
{
    (void)unused;
    static int inet = -1;
    if (inet < 0 && (inet = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
        die("socket");
    struct ifreq request = {.ifr_name = "lo", .ifr_qlen = 1000};
    if (ioctl(inet, SIOCSIFTXQLEN, &request) != 0)
        die("SIOCSIFTXQLEN");
}

static void group(const char *directory)
{
    if (mkdir(directory, 0755) != 0 || rmdir(directory) != 0)
        die(directory);
}

static void append(const char *path)
{
    static int file = -1;
    if (file < 0 && (file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644)) < 0)
        die(path);
    if (write(file, "x", 1) != 1 || fsync(file) != 0)
        die(path);
}

static void on_alarm(int unused)
{
    (void)unused;
}

static void stat_file(const char *path)
{
    static bool timed;
    if (!timed) {
        struct sigaction action = {.sa_handler = on_alarm};
        struct itimerval tenth = {.it_interval.tv_usec = 100000, .it_value.tv_usec = 100000};
        if (sigaction(SIGALRM, &action, NULL) != 0 || setitimer(ITIMER_REAL, &tenth, NULL) != 0)
            die("timer");
        timed = true;
    }
    struct stat attributes;
    if (stat(path, &attributes) != 0 && errno != EINTR)
        die(path);
}

static void *sleep_on(void *unused)
{
    for (;;)
        pause();
    return unused;
}

static void bulk(const char *unused)
{
    (void)unused;
    static char *memory;
    if (memory != NULL)
        return;
    memory = mmap(NULL, 256UL << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, sleep_on, NULL) != 0)
            die("pthread_create");
    }
}

static void map(const char *unused)
{
    (void)unused;
    void *memory = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || munmap(memory, 4096) != 0)
        die("mmap");
}

static void busy(const char *unused)
{
    (void)unused;
    for (;;)
        atomic_signal_fence(memory_order_seq_cst);
}

static void idle(const char *unused)
{
    (void)unused;
}

static const struct {
    const char *name;
    void (*act)(const char *argument);
} acts[] = {
    {"route", route}, {"link", set_link}, {"group", group}, {"append", append},
    {"stat", stat_file}, {"bulk", bulk}, {"map", map},     {"busy", busy},     {"idle", idle},
};

int main(int argc, char **argv)
{
    void (*act)(const char *) = NULL;
    for (size_t i = 0; argc >= 3 && i < sizeof acts / sizeof *acts; i++)
        if (strcmp(argv[2], acts[i].name) == 0)
            act = acts[i].act;
    if (act == NULL) {
        fprintf(stderr, "usage: service NAME WHAT [ARGUMENT]\n");
        return 2;
    }
    if (prctl(PR_SET_NAME, argv[1]) != 0)
        die("prctl");
    for (;;) {
        act(argc > 3 ? argv[3] : NULL);
        sleep_ns(NANOS / 5);
    }
}
