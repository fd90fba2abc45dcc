/*
 * reborn FIRST SECOND: two waits in D of two processes with one and the same id, one right after the other. Needs
 * root, which may choose the id of a process (set_tid of clone3, from 5.5).
 *
 *   ready count=1 tids=T since_ns=NS               the first waits
 *   wait tid=T since_ns=NS ns=DURATION             one per life
 */
#include "fault.h"
#include <linux/sched.h>
#include <sys/syscall.h>

struct life {
    _Atomic uint64_t since;
    _Atomic uint64_t until;
};

static pid_t fork_as(pid_t tid)
{
    struct clone_args args = {.exit_signal = SIGCHLD};
    if (tid > 0) {
        args.set_tid = (uint64_t)(uintptr_t)&tid;
        args.set_tid_size = 1;
    }
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

static pid_t live(struct life *life, pid_t parent, pid_t tid, uint64_t duration)
{
    pid_t pid = fork_as(tid);
    if (pid == 0) {
        die_with(parent);
        atomic_store(&life->since, now_ns());
        atomic_store(&life->until, sleep_in_vfork(duration));
        _exit(0);
    }
    return pid;
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: reborn FIRST SECOND\n");
        return 2;
    }
    uint64_t first = (uint64_t)number("FIRST", argv[1], 1, SECONDS_MAX) * NANOS;
    uint64_t second = (uint64_t)number("SECOND", argv[2], 1, SECONDS_MAX) * NANOS;
    begin();

    struct life *lives = shared_memory(2 * sizeof *lives);
    pid_t self = getpid();
    pid_t tid = live(&lives[0], self, 0, first);
    if (tid < 0)
        die("clone3");
    while (state_of(tid) != 'D')
        sleep_ns(MILLIS);
    printf("ready count=1 tids=%d since_ns=%" PRIu64 "\n", tid, atomic_load(&lives[0].since));
    fflush(stdout);
    reap_all();
    pid_t again = live(&lives[1], self, tid, second);
    if (again != tid)
        die("clone3 with set_tid");
    reap_all();
    for (int i = 0; i < 2; i++)
        printf("wait tid=%d since_ns=%" PRIu64 " ns=%" PRIu64 "\n", tid, atomic_load(&lives[i].since),
               atomic_load(&lives[i].until) - atomic_load(&lives[i].since));
    return 0;
}
