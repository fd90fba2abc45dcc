/*
 * softirq_hog SECONDS CPU: softirqs of one CPU are left to its ksoftirqd, which does not get that CPU.
 *
 * A FIFO 99 thread bound to CPU sends multicast packets over loopback. Each goes to many sockets through a long filter,
 * all in one softirq, which takes so long that the kernel leaves what else is pending to ksoftirqd; and the sender does
 * not let it run. The kernel's limits for realtime threads (sched_rt_runtime_us, the fair server) still give ksoftirqd
 * some milliseconds of each second. Needs root. Packets stay in a network namespace of its own.
 *
 *   ready count=1 tids=T since_ns=NS      the sender begins
 *   ended packets=COUNT
 */
#include "fault.h"

#include <arpa/inet.h>
#include <linux/filter.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define SOCKETS 256
#define DIVISIONS 1800
#define GROUP "239.7.7.7"
#define PORT 7777

static void loopback_up(void)
{
    struct ifreq lo = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &lo) != 0)
        die("loopback");
    lo.ifr_flags |= IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &lo) != 0)
        die("loopback up");
    close(fd);
}

/* A receiver whose filter divides for a while and then drops the packet. */
static void receiver(void)
{
    static struct sock_filter code[DIVISIONS + 2];
    code[0] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_IMM, UINT32_MAX);
    for (size_t i = 1; i <= DIVISIONS; i++)
        code[i] = (struct sock_filter)BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 3);
    code[DIVISIONS + 1] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog filter = {.len = DIVISIONS + 2, .filter = code};
    int yes = 1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(PORT)};
    struct ip_mreq group = {.imr_multiaddr.s_addr = inet_addr(GROUP), .imr_interface.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0
        || setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter) != 0
        || bind(fd, (struct sockaddr *)&at, sizeof at) != 0
        || setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &group, sizeof group) != 0)
        die("receiver");
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: softirq_hog SECONDS CPU\n");
        return 2;
    }
    uint64_t duration = (uint64_t)number("SECONDS", argv[1], 1, 30) * NANOS;
    int cpu = (int)number("CPU", argv[2], 0, CPU_SETSIZE - 1);
    begin();

    if (unshare(CLONE_NEWNET) != 0)
        die("unshare");
    loopback_up();
    for (size_t i = 0; i < SOCKETS; i++)
        receiver();
    int out = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct in_addr lo = {.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(PORT), .sin_addr.s_addr = inet_addr(GROUP)};
    if (out < 0 || setsockopt(out, IPPROTO_IP, IP_MULTICAST_IF, &lo, sizeof lo) != 0)
        die("sender");

    cpu_set_t cpus;
    CPU_ZERO(&cpus);
    CPU_SET(cpu, &cpus);
    struct sched_param first = {.sched_priority = 99};
    if (sched_setaffinity(0, sizeof cpus, &cpus) != 0)
        die("sched_setaffinity");
    /* Said before: from here on nobody else may run on this CPU, the reader of this line among them. */
    uint64_t since = now_ns();
    printf("ready count=1 tids=%d since_ns=%" PRIu64 "\n", getpid(), since);
    fflush(stdout);
    if (sched_setscheduler(0, SCHED_FIFO, &first) != 0)
        die("sched_setscheduler");

    uint64_t packets = 0;
    sigset_t asked;
    while (now_ns() < since + duration && sigpending(&asked) == 0 && !sigismember(&asked, SIGTERM)) {
        if (sendto(out, "x", 1, 0, (struct sockaddr *)&to, sizeof to) == 1)
            packets++;
    }
    printf("ended packets=%" PRIu64 "\n", packets);
    return 0;
}
