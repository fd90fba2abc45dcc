/*
 * nbd DEVICE MEGABYTES: a disk in memory, served by this process. SIGSTOP makes it a disk that never answers; SIGCONT
 * brings it back. The kernel end is set up by ioctl in a child, which stays in NBD_DO_IT as long as the disk exists.
 */
#include "fault.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/nbd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define BLOCK 4096UL

static bool whole(ssize_t (*act)(int, void *, size_t), int fd, void *data, size_t length)
{
    for (char *at = data; length > 0;) {
        ssize_t done = act(fd, at, length);
        if (done <= 0)
            return false;
        at += done;
        length -= (size_t)done;
    }
    return true;
}

static ssize_t put(int fd, void *data, size_t length)
{
    return write(fd, data, length);
}

static void attach(const char *device, int socket, unsigned long bytes)
{
    int disk = open(device, O_RDWR | O_CLOEXEC);
    if (disk < 0 || ioctl(disk, NBD_SET_BLKSIZE, BLOCK) != 0 || ioctl(disk, NBD_SET_SIZE_BLOCKS, bytes / BLOCK) != 0 ||
        ioctl(disk, NBD_SET_SOCK, socket) != 0)
        die(device);
    /* No timeout is set: requests then wait for ever, as they do on a fabric that lost its path. */
    ioctl(disk, NBD_DO_IT);
    _exit(0);
}

static void serve(int socket, char *memory, unsigned long bytes)
{
    struct nbd_request request;
    while (whole(read, socket, &request, sizeof request)) {
        struct nbd_reply reply = {.magic = htobe32(NBD_REPLY_MAGIC)};
        uint64_t from = be64toh(request.from);
        uint32_t length = be32toh(request.len);
        uint32_t type = be32toh(request.type) & 0xffff;
        memcpy(reply.handle, request.handle, sizeof reply.handle);
        if (type == NBD_CMD_DISC)
            return;
        if (from > bytes || length > bytes - from) {
            fprintf(stderr, "nbd: %u bytes at %" PRIu64 "\n", length, from);
            exit(1);
        }
        if (type == NBD_CMD_WRITE && !whole(read, socket, memory + from, length))
            return;
        whole(put, socket, &reply, sizeof reply);
        if (type == NBD_CMD_READ)
            whole(put, socket, memory + from, length);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: nbd DEVICE MEGABYTES\n");
        return 2;
    }
    unsigned long bytes = (unsigned long)number("MEGABYTES", argv[2], 1, 1024) << 20;
    char *memory = shared_memory(bytes);
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
        die("socketpair");
    pid_t child = fork();
    if (child < 0)
        die("fork");
    if (child == 0) {
        close(ends[0]);
        attach(argv[1], ends[1], bytes);
    }
    close(ends[1]);
    serve(ends[0], memory, bytes);
    return 0;
}
