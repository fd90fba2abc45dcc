/*
 * storm SECONDS [RATE]: processes that are born and gone before one has looked twice.
 *
 * RATE forks a second (default 500), each ending at once: pids are used up and reused, directories vanish between
 * listing and opening. Bounded, because the storm is there to confuse the walk and not to starve the test.
 *
 *   ready count=1 tids=T since_ns=NS               the first child has come and gone; T is the parent
 *   ended forks=COUNT
 */
#include "fault.h"

#define RATE_DEFAULT 500
#define RATE_MAX 10000L

static void fork_once(void)
{
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0)
        _exit(0);
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: storm SECONDS [RATE]\n");
        return 2;
    }
    uint64_t duration = (uint64_t)number("SECONDS", argv[1], 1, SECONDS_MAX) * NANOS;
    uint64_t rate = argc > 2 ? (uint64_t)number("RATE", argv[2], 1, RATE_MAX) : RATE_DEFAULT;
    begin();

    uint64_t since = now_ns();
    fork_once();
    printf("ready count=1 tids=%d since_ns=%" PRIu64 "\n", getpid(), since);
    fflush(stdout);

    uint64_t forks = 1;
    sigset_t asked;
    while (now_ns() < since + duration && sigpending(&asked) == 0 && !sigismember(&asked, SIGTERM)) {
        /* Catches up after a delay with what was due, so the rate holds on average and never runs ahead. */
        for (uint64_t due = (now_ns() - since) * rate / NANOS; forks < due; forks++)
            fork_once();
        sleep_ns(MILLIS);
    }
    printf("ended forks=%" PRIu64 "\n", forks);
    return 0;
}
