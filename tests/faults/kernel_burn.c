/*
 * kernel_burn SECONDS: a thread that burns system time, does not sleep, and is in user space for an instant only.
 *
 * It reads from /dev/urandom, a gibibyte at each call, into a mebibyte of its own memory over and over. A call lasts for
 * seconds: user time is sampled at the clock's ticks, and of calls of 40 ms one tick in half a minute hit user space.
 *
 *   ready count=1 tids=T since_ns=NS      it begins
 *   ended calls=COUNT longest_ns=NS
 */
#include "fault.h"

#include <fcntl.h>
#include <sys/uio.h>

#define PIECE (UINT64_C(1) << 20)
#define PIECES 1024

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: kernel_burn SECONDS\n");
        return 2;
    }
    uint64_t duration = (uint64_t)number("SECONDS", argv[1], 1, SECONDS_MAX) * NANOS;
    begin();
    static struct iovec pieces[PIECES];
    char *memory = shared_memory(PIECE);
    for (int i = 0; i < PIECES; i++)
        pieces[i] = (struct iovec){.iov_base = memory, .iov_len = PIECE};
    int random = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    if (random < 0)
        die("/dev/urandom");

    uint64_t since = now_ns();
    printf("ready count=1 tids=%d since_ns=%" PRIu64 "\n", getpid(), since);
    fflush(stdout);
    uint64_t calls = 0;
    uint64_t longest = 0;
    sigset_t asked;
    for (uint64_t before = since; before < since + duration; calls++) {
        if (readv(random, pieces, PIECES) < 0)
            die("readv");
        uint64_t now = now_ns();
        longest = now - before > longest ? now - before : longest;
        before = now;
        if (sigpending(&asked) == 0 && sigismember(&asked, SIGTERM))
            break;
    }
    printf("ended calls=%" PRIu64 " longest_ns=%" PRIu64 "\n", calls, longest);
    return 0;
}
