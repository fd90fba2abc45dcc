/*
 * vfork_threads SECONDS N: one process with N workers, of which each SIGUSR1 puts one more into state D for good.
 *
 *   ready count=N tids=T,... since_ns=NS           all workers are there, asleep, and named worker/0, worker/1, ...
 */
#include "fault.h"
#include <pthread.h>
#include <semaphore.h>

#define WORKERS_MAX 64L

struct worker {
    size_t number;
    uint64_t duration;
    sem_t go;
    _Atomic pid_t tid;
};

static void *work(void *argument)
{
    struct worker *worker = argument;
    char name[16];
    snprintf(name, sizeof name, "worker/%zu", worker->number);
    if (prctl(PR_SET_NAME, name) != 0)
        die("prctl");
    atomic_store(&worker->tid, gettid());
    while (sem_wait(&worker->go) != 0)
        ;
    sleep_in_vfork(worker->duration);
    return NULL;
}

/* Lets one worker go at each SIGUSR1, until `deadline` or a polite signal. */
static void obey(struct worker *workers, size_t count, uint64_t deadline)
{
    sigset_t asked;
    sigemptyset(&asked);
    sigaddset(&asked, SIGTERM);
    sigaddset(&asked, SIGINT);
    sigaddset(&asked, SIGUSR1);
    size_t gone = 0;
    for (uint64_t now = now_ns(); now < deadline; now = now_ns()) {
        uint64_t left = deadline - now;
        struct timespec timeout = {.tv_sec = (time_t)(left / NANOS), .tv_nsec = (long)(left % NANOS)};
        int got = sigtimedwait(&asked, NULL, &timeout);
        if (got == SIGUSR1 && gone < count)
            sem_post(&workers[gone++].go);
        else if (got == SIGTERM || got == SIGINT)
            return;
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: vfork_threads SECONDS N\n");
        return 2;
    }
    uint64_t duration = (uint64_t)number("SECONDS", argv[1], 1, SECONDS_MAX) * NANOS;
    size_t count = (size_t)number("N", argv[2], 1, WORKERS_MAX);
    begin();
    /* Before there are threads, so that none of them takes the signal instead of us. */
    sigset_t step;
    sigemptyset(&step);
    sigaddset(&step, SIGUSR1);
    if (sigprocmask(SIG_BLOCK, &step, NULL) != 0)
        die("sigprocmask");

    uint64_t since = now_ns();
    struct worker *workers = calloc(count, sizeof *workers);
    if (workers == NULL)
        die("calloc");
    for (size_t i = 0; i < count; i++) {
        workers[i].number = i;
        workers[i].duration = duration;
        pthread_t thread;
        if (sem_init(&workers[i].go, 0, 0) != 0)
            die("sem_init");
        errno = pthread_create(&thread, NULL, work, &workers[i]);
        if (errno != 0)
            die("pthread_create");
    }
    for (size_t i = 0; i < count; i++)
        while (atomic_load(&workers[i].tid) == 0)
            sleep_ns(MILLIS);

    printf("ready count=%zu tids=", count);
    for (size_t i = 0; i < count; i++)
        printf("%s%d", i > 0 ? "," : "", atomic_load(&workers[i].tid));
    printf(" since_ns=%" PRIu64 "\n", since);
    fflush(stdout);
    obey(workers, count, since + duration);
    return 0;
}
