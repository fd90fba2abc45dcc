/*
 * What every fault has in common: it ends by itself, it ends with its parent, and it says in one line when the
 * state it makes has been reached. Times are CLOCK_MONOTONIC nanoseconds, the clock of the exporter.
 */
#ifndef FAULT_H
#define FAULT_H

#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NANOS UINT64_C(1000000000)
#define MILLIS UINT64_C(1000000)

/* A fault that outlives its test by an hour is a mistake in the test. */
#define SECONDS_MAX 3600L

static inline _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static inline uint64_t clock_ns(clockid_t clock)
{
    struct timespec at;
    if (clock_gettime(clock, &at) != 0)
        die("clock_gettime");
    return (uint64_t)at.tv_sec * NANOS + (uint64_t)at.tv_nsec;
}

static inline uint64_t now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

/* Only system calls: it is also called in a vfork child, which runs on its parent's stack. */
static inline void sleep_ns(uint64_t duration)
{
    struct timespec left = {.tv_sec = (time_t)(duration / NANOS), .tv_nsec = (long)(duration % NANOS)};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* The number in `text`, or the end of the program: a fault with a guessed argument would prove nothing. */
static inline long number(const char *name, const char *text, long min, long max)
{
    char *end = NULL;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < min || value > max) {
        fprintf(stderr, "%s: want a number from %ld to %ld, got '%s'\n", name, min, max, text);
        exit(2);
    }
    return value;
}

/*
 * Asks for SIGKILL when `parent` dies. The second look closes the gap in which it died before the first. The signal
 * comes when the parent's *thread* that forked us ends, which for a Rust test is the end of the test.
 */
static inline void die_with(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != parent)
        _exit(1);
}

/*
 * For main(): the parent is whoever started us, SIGTERM is kept for wait_for_end() (children inherit the mask), and
 * orphaned grandchildren come back to us: not every container's first process reaps.
 */
static inline void begin(void)
{
    sigset_t asked;
    sigemptyset(&asked);
    sigaddset(&asked, SIGTERM);
    sigaddset(&asked, SIGINT);
    if (sigprocmask(SIG_BLOCK, &asked, NULL) != 0)
        die("sigprocmask");
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0)
        die("prctl");
    die_with(getppid());
}

/* Until `deadline` or a polite signal; true for the signal. */
static inline bool wait_for_end(uint64_t deadline)
{
    sigset_t asked;
    sigemptyset(&asked);
    sigaddset(&asked, SIGTERM);
    sigaddset(&asked, SIGINT);
    for (uint64_t now = now_ns(); now < deadline; now = now_ns()) {
        uint64_t left = deadline - now;
        struct timespec timeout = {.tv_sec = (time_t)(left / NANOS), .tv_nsec = (long)(left % NANOS)};
        if (sigtimedwait(&asked, NULL, &timeout) > 0)
            return true;
    }
    return false;
}

/* Zeroed memory that forked children share with us. */
static inline void *shared_memory(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        die("mmap");
    return memory;
}

/* Reaps everything below us, as long as it takes. */
static inline void reap_all(void)
{
    while (waitpid(-1, NULL, 0) > 0 || errno == EINTR)
        ;
}

static inline void end_children(const pid_t *pids, size_t count)
{
    for (size_t i = 0; i < count; i++)
        kill(pids[i], SIGKILL);
    reap_all();
}

/*
 * The D state that needs no privilege: the parent of a vfork waits, killable but uninterruptible, until its child
 * execs or exits, and ours only sleeps. Returns the time at which the parent ran again. Not inlined, because what
 * the caller keeps in registers need not survive a vfork.
 */
static __attribute__((noinline, unused)) uint64_t sleep_in_vfork(uint64_t duration)
{
    pid_t self = getpid();
    pid_t child = vfork();
    if (child < 0)
        die("vfork");
    if (child == 0) {
        die_with(self);
        sleep_ns(duration);
        _exit(0);
    }
    uint64_t until = now_ns();
    waitpid(child, NULL, 0);
    return until;
}

/* The state letter of a task, from the file that takes no lock; '?' when the task is gone. */
static inline char state_of(pid_t tid)
{
    char path[64];
    char line[256];
    char letter = '?';
    snprintf(path, sizeof path, "/proc/%d/status", tid);
    FILE *status = fopen(path, "re");
    if (status == NULL)
        return letter;
    while (fgets(line, sizeof line, status) != NULL)
        if (sscanf(line, "State: %c", &letter) == 1)
            break;
    fclose(status);
    return letter;
}

#endif
