/*
 * packets: a packet every 2 ms over a loopback of its own, whose receiving half is steered to CPU 1 (RPS). Once a
 * second it says how late the latest one was:
 *
 *   late MILLISECONDS
 */
#include "fault.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>

#define STEER "/sys/class/net/lo/queues/rx-0/rps_cpus"
#define EVERY (2 * MILLIS)

static void own_loopback(void)
{
    /* sysfs shows the devices of the namespace that mounted it. */
    if (unshare(CLONE_NEWNET | CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0
        || mount("sysfs", "/sys", "sysfs", 0, NULL) != 0)
        die("namespaces");
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) != 0)
        die("loopback");
    close(fd);
    int steer = open(STEER, O_WRONLY | O_CLOEXEC);
    if (steer < 0 || write(steer, "2", 1) != 1)
        die(STEER);
    close(steer);
}

int main(void)
{
    own_loopback();
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    sched_setaffinity(0, sizeof first, &first);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int in = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    int out = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (in < 0 || out < 0 || bind(in, (struct sockaddr *)&at, sizeof at) != 0)
        die("sockets");
    uint64_t told = now_ns();
    uint64_t latest = 0;
    for (;;) {
        uint64_t sent = now_ns();
        if (sendto(out, &sent, sizeof sent, 0, (struct sockaddr *)&at, sizeof at) < 0)
            die("sendto");
        while (recv(in, &sent, sizeof sent, MSG_DONTWAIT) == (ssize_t)sizeof sent)
            if (now_ns() - sent > latest)
                latest = now_ns() - sent;
        if (now_ns() - told > NANOS) {
            printf("late %" PRIu64 "\n", latest / MILLIS);
            fflush(stdout);
            told = now_ns();
            latest = 0;
        }
        sleep_ns(EVERY);
    }
}
