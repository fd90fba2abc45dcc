/*
 * sleepers N threads|procs|both SECONDS: a crowd that sleeps and never wakes.
 *
 * `threads` is one process of N threads, `procs` is N processes of one thread, `both` is N of each. The first thread
 * and the first process are this program itself, so the counts are exact.
 *
 *   ready count=TOTAL tids=T since_ns=NS           all exist and have run; T is this process alone
 */
#include "fault.h"
#include <limits.h>
#include <pthread.h>

#define CROWD_MAX 100000L

static _Atomic long *awake;

/* The last act before the sleep that nothing ends. */
static void sleep_forever(void)
{
    atomic_fetch_add(awake, 1);
    for (;;)
        pause();
}

static void *thread_main(void *unused)
{
    (void)unused;
    sleep_forever();
    return NULL;
}

static void start_threads(size_t count)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    /* No guard page: it would double the mappings, and 65 530 is the usual most. */
    if (pthread_attr_setstacksize(&attr, PTHREAD_STACK_MIN) != 0 || pthread_attr_setguardsize(&attr, 0) != 0)
        die("pthread_attr");
    for (size_t i = 0; i < count; i++) {
        pthread_t thread;
        errno = pthread_create(&thread, &attr, thread_main, NULL);
        if (errno != 0)
            die("pthread_create");
    }
    pthread_attr_destroy(&attr);
}

static void start_processes(pid_t *pids, size_t count)
{
    pid_t self = getpid();
    for (size_t i = 0; i < count; i++) {
        pids[i] = fork();
        if (pids[i] < 0) {
            perror("fork");
            end_children(pids, i);
            exit(1);
        }
        if (pids[i] == 0) {
            die_with(self);
            sleep_forever();
        }
    }
}

int main(int argc, char **argv)
{
    bool threads = argc == 4 && (strcmp(argv[2], "threads") == 0 || strcmp(argv[2], "both") == 0);
    bool procs = argc == 4 && (strcmp(argv[2], "procs") == 0 || strcmp(argv[2], "both") == 0);
    if (!threads && !procs) {
        fprintf(stderr, "usage: sleepers N threads|procs|both SECONDS\n");
        return 2;
    }
    size_t each = (size_t)number("N", argv[1], 1, CROWD_MAX);
    uint64_t duration = (uint64_t)number("SECONDS", argv[3], 1, SECONDS_MAX) * NANOS;
    begin();

    uint64_t since = now_ns();
    awake = shared_memory(sizeof *awake);
    /* We are the first of the threads or of the processes, hence of one of them only. */
    size_t forked = procs ? each - (threads ? 0 : 1) : 0;
    size_t threaded = threads ? each - 1 : 0;
    pid_t *pids = calloc(forked + 1, sizeof *pids);
    if (pids == NULL)
        die("calloc");
    start_processes(pids, forked);
    start_threads(threaded);
    while (atomic_load(awake) < (long)(forked + threaded) && now_ns() < since + duration)
        sleep_ns(MILLIS);

    printf("ready count=%zu tids=%d since_ns=%" PRIu64 "\n", 1 + forked + threaded, getpid(), since);
    fflush(stdout);
    wait_for_end(since + duration);
    end_children(pids, forked);
    return 0;
}
