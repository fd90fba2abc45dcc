/*
 * storm SECONDS [RATE [exec]]: processes that are born and gone before one has looked twice.
 *
 * RATE forks a second (default 500), each ending at once, or with `exec` becoming /bin/true before: pids are used up and
 * reused, names change, directories vanish between listing and opening. Bounded, because the storm is there to confuse the walk and not to starve the test.
 *
 *   ready count=1 tids=T since_ns=NS               the first child has come and gone; T is the parent
 *   ended forks=COUNT
 */
#include "fault.h"

#define RATE_DEFAULT 500
#define RATE_MAX 10000L

static void fork_once(bool exec)
{
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        if (exec)
            execl("/bin/true", "true", (char *)NULL);
        _exit(exec);
    }
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0)
        die("/bin/true");
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 4 || (argc == 4 && strcmp(argv[3], "exec") != 0)) {
        fprintf(stderr, "usage: storm SECONDS [RATE [exec]]\n");
        return 2;
    }
    uint64_t duration = (uint64_t)number("SECONDS", argv[1], 1, SECONDS_MAX) * NANOS;
    uint64_t rate = argc > 2 ? (uint64_t)number("RATE", argv[2], 1, RATE_MAX) : RATE_DEFAULT;
    begin();

    uint64_t since = now_ns();
    fork_once(argc == 4);
    printf("ready count=1 tids=%d since_ns=%" PRIu64 "\n", getpid(), since);
    fflush(stdout);

    uint64_t forks = 1;
    sigset_t asked;
    while (now_ns() < since + duration && sigpending(&asked) == 0 && !sigismember(&asked, SIGTERM)) {
        /* Catches up after a delay with what was due, so the rate holds on average and never runs ahead. */
        for (uint64_t due = (now_ns() - since) * rate / NANOS; forks < due; forks++)
            fork_once(argc == 4);
        sleep_ns(MILLIS);
    }
    printf("ended forks=%" PRIu64 "\n", forks);
    return 0;
}
