/*
 * freezable SECONDS: three processes that a freezer meets in different places.
 *
 *   ready count=3 tids=BUSY,NAP,PAUSE since_ns=NS
 *
 * BUSY runs in user space and goes to the freezer by itself; NAP sleeps in nanosleep and is frozen where it stands
 * (from 6.1); PAUSE sleeps in pause and is woken to go there.
 */
#include "fault.h"

static _Noreturn void act(pid_t parent, int what)
{
    die_with(parent);
    for (;;) {
        if (what == 1)
            sleep_ns(NANOS * SECONDS_MAX);
        if (what == 2)
            pause();
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: freezable SECONDS\n");
        return 2;
    }
    uint64_t duration = (uint64_t)number("SECONDS", argv[1], 1, SECONDS_MAX) * NANOS;
    begin();

    pid_t pids[3];
    pid_t self = getpid();
    uint64_t since = now_ns();
    for (int i = 0; i < 3; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            die("fork");
        if (pids[i] == 0)
            act(self, i);
    }
    for (int i = 1; i < 3; i++)
        while (state_of(pids[i]) != 'S')
            sleep_ns(MILLIS);
    printf("ready count=3 tids=%d,%d,%d since_ns=%" PRIu64 "\n", pids[0], pids[1], pids[2], since);
    fflush(stdout);
    wait_for_end(since + duration);
    end_children(pids, 3);
    return 0;
}
