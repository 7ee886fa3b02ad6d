/* The floor of a fan-out: a WebSocket server in C that only sends. `bench.floor` compiles and measures it.
 *
 * It speaks the dialect "plain" of the load generator (one subscribe or publish in each frame, a fixed key), holds one
 * channel, and checks nothing. With the argument `send` it calls send(2) for each subscriber, in a loop. With `uring` it
 * submits the sends of one message together, in one io_uring_enter(2), without a polling thread of the kernel.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { CONNECTIONS = 16384, BUFFER = 131072, ENTRIES = 4096 };

static const char ACCEPTED[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static const char SUBSCRIBED[] = "{\"type\":\"subscribed\"}";
static const char PUBLISH[] = "{\"type\":\"publish\"";
static const char EVENT[] = "{\"type\":\"event\"";

struct connection {
    unsigned char *data;
    size_t held;
    int upgraded;
};

static struct connection connections[CONNECTIONS];
static int subscribers[CONNECTIONS];
static int count;
static int batched;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

/* --- io_uring, without a library ------------------------------------------------------------------------ */

static int ring;
static struct io_uring_sqe *entries;
static unsigned *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail;

static void open_ring(void) {
    struct io_uring_params p = {0};
    p.flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    ring = (int)syscall(SYS_io_uring_setup, ENTRIES, &p);
    if (ring < 0) fail("io_uring_setup");
    size_t size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    size_t other = p.sq_off.array + p.sq_entries * sizeof(unsigned);
    char *rings = mmap(0, size > other ? size : other, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, ring,
                       IORING_OFF_SQ_RING);
    entries = mmap(0, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                   ring, IORING_OFF_SQES);
    if (rings == MAP_FAILED || entries == MAP_FAILED) fail("mmap");
    sq_tail = (unsigned *)(rings + p.sq_off.tail);
    sq_mask = (unsigned *)(rings + p.sq_off.ring_mask);
    sq_array = (unsigned *)(rings + p.sq_off.array);
    cq_head = (unsigned *)(rings + p.cq_off.head);
    cq_tail = (unsigned *)(rings + p.cq_off.tail);
}

static void send_batch(const unsigned char *frame, size_t size) {
    for (int sent = 0; sent < count;) {
        int batch = count - sent < ENTRIES ? count - sent : ENTRIES;
        unsigned tail = *sq_tail;
        for (int i = 0; i < batch; i++, tail++) {
            unsigned at = tail & *sq_mask;
            struct io_uring_sqe *entry = &entries[at];
            memset(entry, 0, sizeof *entry);
            entry->opcode = IORING_OP_SEND;
            entry->fd = subscribers[sent + i];
            entry->addr = (uint64_t)(uintptr_t)frame;
            entry->len = (unsigned)size;
            entry->msg_flags = MSG_NOSIGNAL;
            sq_array[at] = at;
        }
        __atomic_store_n(sq_tail, tail, __ATOMIC_RELEASE);
        if (syscall(SYS_io_uring_enter, ring, batch, batch, IORING_ENTER_GETEVENTS, 0, 0) < batch)
            fail("io_uring_enter");
        __atomic_store_n(cq_head, __atomic_load_n(cq_tail, __ATOMIC_ACQUIRE), __ATOMIC_RELEASE);
        sent += batch;
    }
}

/* --- the server ----------------------------------------------------------------------------------------- */

static void send_loop(const unsigned char *frame, size_t size) {
    for (int i = 0; i < count; i++) send(subscribers[i], frame, size, MSG_NOSIGNAL);
}

static size_t framed(unsigned char *out, const unsigned char *content, size_t size) {
    size_t head = 2;
    out[0] = 0x81;
    if (size < 126) {
        out[1] = (unsigned char)size;
    } else {
        out[1] = 126;
        out[2] = (unsigned char)(size >> 8);
        out[3] = (unsigned char)size;
        head = 4;
    }
    memcpy(out + head, content, size);
    return head + size;
}

static void handle(int fd, unsigned char *content, size_t size) {
    static unsigned char out[BUFFER], event[BUFFER];
    size_t begin = sizeof PUBLISH - 1, named = sizeof EVENT - 1;
    if (size > begin && !memcmp(content, PUBLISH, begin)) {
        memcpy(event, EVENT, named);
        memcpy(event + named, content + begin, size - begin);
        size_t length = framed(out, event, named + size - begin);
        (batched ? send_batch : send_loop)(out, length);
    } else {
        subscribers[count++] = fd;
        size_t length = framed(out, (const unsigned char *)SUBSCRIBED, sizeof SUBSCRIBED - 1);
        send(fd, out, length, MSG_NOSIGNAL);
    }
}

/* Handles the first frame of a connection; how many bytes it took, 0 while it is incomplete. */
static size_t take(int fd, struct connection *c) {
    if (!c->upgraded) {
        unsigned char *end = memmem(c->data, c->held, "\r\n\r\n", 4);
        if (!end) return 0;
        send(fd, ACCEPTED, sizeof ACCEPTED - 1, MSG_NOSIGNAL);
        c->upgraded = 1;
        return (size_t)(end - c->data) + 4;
    }
    if (c->held < 6) return 0;
    size_t size = c->data[1] & 0x7f, head = 2;
    if (size == 126) {
        size = (size_t)c->data[2] << 8 | c->data[3];
        head = 4;
    }
    if (c->held < head + 4 + size) return 0;
    unsigned char *mask = c->data + head, *content = mask + 4;
    for (size_t i = 0; i < size; i++) content[i] ^= mask[i & 3];
    if ((c->data[0] & 0x0f) == 1) handle(fd, content, size);
    return head + 4 + size;
}

static void leave(int fd) {
    for (int i = 0; i < count; i++)
        if (subscribers[i] == fd) subscribers[i] = subscribers[--count];
    free(connections[fd].data);
    memset(&connections[fd], 0, sizeof connections[fd]);
    close(fd);
}

static void receive(int fd) {
    static unsigned char buffer[BUFFER];
    struct connection *c = &connections[fd];
    ssize_t got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got <= 0) {
        leave(fd);
        return;
    }
    c->data = realloc(c->data, c->held + (size_t)got);
    if (!c->data) fail("realloc");
    memcpy(c->data + c->held, buffer, (size_t)got);
    c->held += (size_t)got;
    for (size_t taken; c->held && (taken = take(fd, c)) > 0;) {
        c->held -= taken;
        memmove(c->data, c->data + taken, c->held);
    }
    if (!c->held) {
        free(c->data);
        c->data = 0;
    }
}

int main(int argc, char **argv) {
    batched = argc > 1 && !strcmp(argv[1], "uring");
    if (batched) open_ring();
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0), poll = epoll_create1(0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    if (bind(listener, (struct sockaddr *)&address, length) || listen(listener, 4096)) fail("listen");
    getsockname(listener, (struct sockaddr *)&address, &length);
    printf("listening on http://127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = listener}, ready[256];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &interest);
    for (;;) {
        int found = epoll_wait(poll, ready, 256, -1);
        for (int i = 0; i < found; i++) {
            if (ready[i].data.fd != listener) {
                receive(ready[i].data.fd);
                continue;
            }
            int fd = accept4(listener, 0, 0, 0);
            if (fd < 0) continue;
            if (fd >= CONNECTIONS) {
                close(fd);
                continue;
            }
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
            interest = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
            epoll_ctl(poll, EPOLL_CTL_ADD, fd, &interest);
        }
    }
}
