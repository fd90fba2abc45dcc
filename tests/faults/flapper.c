/*
 * flapper SECONDS N: N tasks that are in D whenever one looks, and never stuck.
 *
 * Each waits some milliseconds in vfork (D), sleeps a little (S), and does it again: two looks that both find D have
 * progress between them. Whoever joins them into one long wait is wrong.
 *
 *   ready count=N tids=T,... since_ns=NS           every task has ended its first wait
 *   ended waits=COUNT longest_ns=NS                all waits of all tasks; the longest is the most anyone may report
 */
#include "fault.h"

#define TASKS_MAX 256L

struct task {
    _Atomic uint64_t waits;
    _Atomic uint64_t longest;
};

static _Noreturn void flap(struct task *task, pid_t parent, size_t index)
{
    die_with(parent);
    for (uint64_t turn = index;; turn++) {
        /* 3 to 9 ms in D, 1 ms in S; the lengths differ so that no sampling interval falls in step with them. */
        uint64_t length = (3 + turn * 5 % 7) * MILLIS;
        uint64_t since = now_ns();
        uint64_t waited = sleep_in_vfork(length) - since;
        if (waited > atomic_load(&task->longest))
            atomic_store(&task->longest, waited);
        atomic_fetch_add(&task->waits, 1);
        sleep_ns(MILLIS);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: flapper SECONDS N\n");
        return 2;
    }
    uint64_t duration = (uint64_t)number("SECONDS", argv[1], 1, SECONDS_MAX) * NANOS;
    size_t count = (size_t)number("N", argv[2], 1, TASKS_MAX);
    begin();

    struct task *tasks = shared_memory(count * sizeof *tasks);
    pid_t *pids = calloc(count, sizeof *pids);
    if (pids == NULL)
        die("calloc");
    pid_t self = getpid();
    uint64_t since = now_ns();
    for (size_t i = 0; i < count; i++) {
        pids[i] = fork();
        if (pids[i] < 0)
            die("fork");
        if (pids[i] == 0)
            flap(&tasks[i], self, i);
    }
    for (size_t i = 0; i < count; i++)
        while (atomic_load(&tasks[i].waits) == 0 && now_ns() < since + duration)
            sleep_ns(MILLIS);

    printf("ready count=%zu tids=", count);
    for (size_t i = 0; i < count; i++)
        printf("%s%d", i > 0 ? "," : "", pids[i]);
    printf(" since_ns=%" PRIu64 "\n", since);
    fflush(stdout);

    wait_for_end(since + duration);
    end_children(pids, count);
    uint64_t waits = 0;
    uint64_t longest = 0;
    for (size_t i = 0; i < count; i++) {
        uint64_t of_task = atomic_load(&tasks[i].longest);
        waits += atomic_load(&tasks[i].waits);
        longest = of_task > longest ? of_task : longest;
    }
    printf("ended waits=%" PRIu64 " longest_ns=%" PRIu64 "\n", waits, longest);
    return 0;
}
