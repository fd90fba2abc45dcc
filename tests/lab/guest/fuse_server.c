/*
 * fuse_server DIR: a file server with one file, DIR/file, and nothing cached. SIGSTOP makes it a server that is dead
 * and still has its mount.
 */
#include "fault.h"

#include <fcntl.h>
#include <linux/fuse.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define FILE_NODE 2

static union {
    struct {
        struct fuse_in_header head;
        char body[];
    };
    char bytes[1 << 20];
} request;

static int device;

static void answer(int error, const void *data, size_t length)
{
    char out[256];
    struct fuse_out_header head = {
        .len = (uint32_t)(sizeof head + length), .error = error, .unique = request.head.unique};
    memcpy(out, &head, sizeof head);
    memcpy(out + sizeof head, data, length);
    /* ENOENT: the request was interrupted and is forgotten. */
    if (write(device, out, head.len) < 0 && errno != ENOENT)
        die("answer");
}

static struct fuse_attr attributes(uint64_t node)
{
    return (struct fuse_attr){
        .ino = node, .nlink = 1, .mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644};
}

static void serve(void)
{
    switch (request.head.opcode) {
    case FUSE_INIT: {
        struct fuse_init_out out = {
            .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096};
        answer(0, &out, sizeof out);
        break;
    }
    case FUSE_LOOKUP: {
        struct fuse_entry_out out = {.nodeid = FILE_NODE, .attr = attributes(FILE_NODE)};
        if (strcmp(request.body, "file") == 0)
            answer(0, &out, sizeof out);
        else
            answer(-ENOENT, "", 0);
        break;
    }
    case FUSE_GETATTR: {
        struct fuse_attr_out out = {.attr = attributes(request.head.nodeid)};
        answer(0, &out, sizeof out);
        break;
    }
    case FUSE_STATFS: {
        struct fuse_statfs_out out = {.st = {.blocks = 1, .bsize = 4096, .namelen = 255}};
        answer(0, &out, sizeof out);
        break;
    }
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        break;
    default:
        answer(-ENOSYS, "", 0);
    }
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: fuse_server DIR\n");
        return 2;
    }
    char options[64];
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (device < 0)
        die("/dev/fuse");
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
    if (mount("lab", argv[1], "fuse.lab", 0, options) != 0)
        die("mount");
    for (;;) {
        if (read(device, request.bytes, sizeof request) > 0)
            serve();
        else if (errno != EINTR && errno != ENOENT)
            die("read /dev/fuse");
    }
}
