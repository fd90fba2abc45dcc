/*
 * floor ROUNDS [stat|status|schedstat]: the floor of the benchmark.
 *
 * The least that looking once at every thread of the host can cost without keeping descriptors: getdents64, openat,
 * read and close in C, no parsing. Not a fault; it lives here because it is built like one.
 *
 *   round cpu_ns=NS threads=COUNT failed=COUNT     CPU of this process for one walk; failed: gone before it was read
 */
#include "fault.h"
#include <fcntl.h>
#include <sys/syscall.h>

#define ROUNDS_MAX 10000L
#define LISTING_BYTES 32768

struct dirent64_head {
    uint64_t ino;
    int64_t off;
    unsigned short reclen;
    unsigned char type;
    char name[];
};

/* "PREFIX/SUFFIX" without printf, which would be a tenth of the floor. */
static void join(char *path, const char *prefix, const char *suffix)
{
    size_t length = strlen(prefix);
    memcpy(path, prefix, length);
    path[length] = '/';
    strcpy(path + length + 1, suffix);
}

/* One directory being listed: raw, because readdir(3) allocates and copies. */
struct listing {
    int fd;
    long filled;
    long at;
    _Alignas(struct dirent64_head) char bytes[LISTING_BYTES];
};

/* The next entry whose name is a number, or NULL at the end. */
static const char *next_number(struct listing *listing)
{
    for (;;) {
        if (listing->at >= listing->filled) {
            listing->filled = syscall(SYS_getdents64, listing->fd, listing->bytes, sizeof listing->bytes);
            listing->at = 0;
            if (listing->filled <= 0)
                return NULL;
        }
        struct dirent64_head *entry = (struct dirent64_head *)(listing->bytes + listing->at);
        listing->at += entry->reclen;
        if (entry->name[0] >= '0' && entry->name[0] <= '9')
            return entry->name;
    }
}

static struct listing processes;
static struct listing threads;

static void walk(int proc, const char *file, uint64_t *seen, uint64_t *failed)
{
    char path[300];
    char content[4096];
    const char *pid;
    const char *tid;

    *seen = *failed = 0;
    processes.filled = processes.at = 0;
    processes.fd = openat(proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (processes.fd < 0)
        die("open /proc");
    while ((pid = next_number(&processes)) != NULL) {
        join(path, pid, "task");
        threads.filled = threads.at = 0;
        threads.fd = openat(proc, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (threads.fd < 0)
            continue;
        while ((tid = next_number(&threads)) != NULL) {
            join(path, tid, file);
            int fd = openat(threads.fd, path, O_RDONLY | O_CLOEXEC);
            if (fd >= 0 && read(fd, content, sizeof content) > 0)
                ++*seen;
            else
                ++*failed;
            if (fd >= 0)
                close(fd);
        }
        close(threads.fd);
    }
    close(processes.fd);
}

int main(int argc, char **argv)
{
    const char *file = argc > 2 ? argv[2] : "stat";
    if (argc < 2 || argc > 3 ||
        (strcmp(file, "stat") != 0 && strcmp(file, "status") != 0 && strcmp(file, "schedstat") != 0)) {
        fprintf(stderr, "usage: floor ROUNDS [stat|status|schedstat]\n");
        return 2;
    }
    long rounds = number("ROUNDS", argv[1], 1, ROUNDS_MAX);
    begin();
    int proc = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (proc < 0)
        die("open /proc");

    for (long round = 0; round < rounds; round++) {
        uint64_t seen;
        uint64_t failed;
        uint64_t before = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
        walk(proc, file, &seen, &failed);
        uint64_t spent = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - before;
        printf("round cpu_ns=%" PRIu64 " threads=%" PRIu64 " failed=%" PRIu64 "\n", spent, seen, failed);
    }
    return 0;
}
