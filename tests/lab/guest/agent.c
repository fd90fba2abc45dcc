/*
 * agent: runs shell scripts for the host, many at once, over a virtio port; nothing of it depends on the network.
 *
 *   host to guest   ID run LENGTH\n script          guest to host   ID out LENGTH\n output, standard error included
 *                   ID kill SIGNAL\n                                ID exit STATUS\n
 *
 * A signal goes to the whole process group of a script. STATUS is what a shell would put in $?.
 */
#include "fault.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>

#define PORT "/dev/vport0p1"
#define JOBS_MAX 64
#define SCRIPT_MAX 65536
#define OUTPUT_MAX 65536

struct job {
    long id;
    pid_t pid; /* 0: the slot is free */
    int output; /* -1: at its end */
};

static struct job jobs[JOBS_MAX];
static int port;

static void put(const char *data, size_t length)
{
    while (length > 0) {
        ssize_t put = write(port, data, length);
        if (put < 0)
            die("write " PORT);
        data += put;
        length -= (size_t)put;
    }
}

static void answer(long id, const char *kind, long value, const char *data, size_t length)
{
    char head[64];
    put(head, (size_t)snprintf(head, sizeof head, "%ld %s %ld\n", id, kind, value));
    put(data, length);
}

static void get(char *data, size_t length)
{
    while (length > 0) {
        ssize_t got = read(port, data, length);
        if (got < 0 && errno != EINTR)
            die("read " PORT);
        /* Nobody at the other end (yet) reads as an end of file. */
        if (got == 0)
            sleep_ns(10 * MILLIS);
        if (got > 0) {
            data += got;
            length -= (size_t)got;
        }
    }
}

static void run(long id, const char *script)
{
    struct job *job = jobs;
    while (job < jobs + JOBS_MAX && job->pid != 0)
        job++;
    int ends[2];
    if (job == jobs + JOBS_MAX || pipe2(ends, O_CLOEXEC) != 0) {
        answer(id, "exit", 126, "", 0);
        return;
    }
    pid_t pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0) {
        setsid();
        /* Ours was for us alone. */
        cpu_set_t all;
        memset(&all, 0xff, sizeof all);
        sched_setaffinity(0, sizeof all, &all);
        int null = open("/dev/null", O_RDONLY);
        dup2(null, 0);
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    *job = (struct job){.id = id, .pid = pid, .output = ends[0]};
}

static void take_request(void)
{
    static char script[SCRIPT_MAX + 1];
    char head[64];
    char kind[8];
    size_t length = 0;
    long id;
    long value;
    do {
        get(head + length, 1);
    } while (head[length] != '\n' && ++length < sizeof head - 1);
    head[length] = '\0';
    if (sscanf(head, "%ld %7s %ld", &id, kind, &value) != 3 || value < 0 || value > SCRIPT_MAX) {
        fprintf(stderr, "agent: cannot read '%s'\n", head);
        exit(1);
    }
    if (strcmp(kind, "run") == 0) {
        get(script, (size_t)value);
        script[value] = '\0';
        run(id, script);
        return;
    }
    for (struct job *job = jobs; job < jobs + JOBS_MAX; job++)
        if (job->pid != 0 && job->id == id)
            kill(-job->pid, (int)value);
}

static void take_output(struct job *job)
{
    static char output[OUTPUT_MAX];
    ssize_t got = read(job->output, output, sizeof output);
    if (got > 0) {
        answer(job->id, "out", got, output, (size_t)got);
        return;
    }
    close(job->output);
    job->output = -1;
}

/* A job is over when its output has ended and its shell is gone; either can come first. */
static void finish(struct job *job)
{
    int status;
    if (job->pid == 0 || job->output >= 0 || waitpid(job->pid, &status, WNOHANG) != job->pid)
        return;
    answer(job->id, "exit", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), "", 0);
    job->pid = 0;
}

int main(void)
{
    /* CPU 0 is the lab's, so that a fault on CPU 1 does not also stop the one who measures it. */
    cpu_set_t first;
    CPU_ZERO(&first);
    CPU_SET(0, &first);
    sched_setaffinity(0, sizeof first, &first);
    mlockall(MCL_CURRENT);
    while ((port = open(PORT, O_RDWR | O_CLOEXEC)) < 0)
        sleep_ns(10 * MILLIS);
    answer(0, "exit", 0, "", 0);
    for (;;) {
        struct pollfd polled[JOBS_MAX + 1] = {{.fd = port, .events = POLLIN}};
        for (size_t i = 0; i < JOBS_MAX; i++)
            polled[i + 1] = (struct pollfd){.fd = jobs[i].pid != 0 ? jobs[i].output : -1, .events = POLLIN};
        poll(polled, JOBS_MAX + 1, 50);
        if (polled[0].revents & POLLIN)
            take_request();
        for (size_t i = 0; i < JOBS_MAX; i++) {
            if (polled[i + 1].revents != 0)
                take_output(&jobs[i]);
            finish(&jobs[i]);
        }
    }
}
