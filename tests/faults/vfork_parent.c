/*
 * vfork_parent SECONDS [N]: N tasks in state D, without privileges.
 *
 * A true wait: state letter D, switch and slice counts frozen, load average raised.
 *
 *   ready count=N tids=T,... since_ns=NS,...       every task has been seen in D; NS was read just before vfork
 *   wait tid=T since_ns=NS ns=DURATION             one per task that was not ended early: the truth to measure against
 */
#include "fault.h"

#define TASKS_MAX 4096L

struct task {
    _Atomic uint64_t since;
    _Atomic uint64_t until;
};

static _Noreturn void wait_once(struct task *task, pid_t parent, uint64_t duration)
{
    die_with(parent);
    atomic_store(&task->since, now_ns());
    atomic_store(&task->until, sleep_in_vfork(duration));
    _exit(0);
}

static void wait_for_d(pid_t tid, uint64_t deadline)
{
    while (state_of(tid) != 'D') {
        if (now_ns() > deadline) {
            fprintf(stderr, "task %d never reached D\n", tid);
            exit(1);
        }
        sleep_ns(MILLIS);
    }
}

int main(int argc, char **argv)
{
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: vfork_parent SECONDS [N]\n");
        return 2;
    }
    uint64_t duration = (uint64_t)number("SECONDS", argv[1], 1, SECONDS_MAX) * NANOS;
    size_t count = argc > 2 ? (size_t)number("N", argv[2], 1, TASKS_MAX) : 1;
    begin();

    struct task *tasks = shared_memory(count * sizeof *tasks);
    pid_t *pids = calloc(count, sizeof *pids);
    if (pids == NULL)
        die("calloc");
    pid_t self = getpid();
    uint64_t deadline = now_ns() + duration;
    for (size_t i = 0; i < count; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            die("fork");
        if (pids[i] == 0)
            wait_once(&tasks[i], self, duration);
    }
    for (size_t i = 0; i < count; i++)
        wait_for_d(pids[i], deadline);

    printf("ready count=%zu tids=", count);
    for (size_t i = 0; i < count; i++)
        printf("%s%d", i > 0 ? "," : "", pids[i]);
    printf(" since_ns=");
    for (size_t i = 0; i < count; i++)
        printf("%s%" PRIu64, i > 0 ? "," : "", atomic_load(&tasks[i].since));
    printf("\n");
    fflush(stdout);

    if (wait_for_end(deadline))
        end_children(pids, count);
    reap_all();
    for (size_t i = 0; i < count; i++) {
        uint64_t since = atomic_load(&tasks[i].since);
        uint64_t until = atomic_load(&tasks[i].until);
        if (until != 0)
            printf("wait tid=%d since_ns=%" PRIu64 " ns=%" PRIu64 "\n", pids[i], since, until - since);
    }
    return 0;
}
