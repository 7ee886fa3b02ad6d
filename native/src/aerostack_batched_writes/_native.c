/* Writes what one iteration of an event loop has to send in as few system calls as possible (see ../../README.md), and
 * unmasks what clients send. What is written to a Writer waits until its WriteBatch is flushed. What the kernel does not
 * take then goes to the transport of the event loop, and the writer writes through that until it is empty, so bytes stay
 * in order. No request outlives a call: with MSG_DONTWAIT the kernel completes each while it is submitted. */

#define _GNU_SOURCE
#include <Python.h>
#include <errno.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    SINGLE_ISSUER = 1 << 12, DEFER_TASKRUN = 1 << 13, /* of io_uring_setup(2): headers before Linux 6.1 lack them */
    ENTRIES = 512,   /* requests of one submission: 512 cost 1 % of what they send */
    LARGEST = 65536, /* bytes that wait in a writer; more goes to the transport at once */
    UNKNOWN = -EIO   /* the result of a request whose completion was not seen */
};

typedef struct {
    int fd; /* -1 without io_uring */
    size_t size;
    char *rings;
    struct io_uring_sqe *requests;
    struct io_uring_cqe *completions;
    unsigned *sq_head, *sq_tail, *sq_mask, *cq_head, *cq_tail, *cq_mask;
} Ring;

typedef struct {
    PyObject_HEAD
    Ring ring;
    PyObject *call_soon;
    PyObject *dirty; /* the list of writers with bytes that wait, each once */
    int scheduled;   /* a flush is scheduled with the event loop, or follows `run` */
} WriteBatch;

typedef struct {
    PyObject_HEAD
    WriteBatch *batch;
    PyObject *transport; /* NULL once the connection is lost */
    PyObject *only;      /* the only bytes that wait */
    char *joined;        /* or several, one after another */
    uint32_t held, room; /* bytes in `joined`, and for how many it has room */
    int fd;
    char listed;  /* whether it is in `dirty` */
    char through; /* whether the transport may hold bytes */
} Writer;

static PyTypeObject WriteBatchType, WriterType;
static PyObject *name_size, *name_write;

static int has_bytes(const Writer *w) { return w->only || w->joined; }
static const char *bytes_of(const Writer *w, size_t *size) {
    *size = w->joined ? w->held : (size_t)PyBytes_GET_SIZE(w->only);
    return w->joined ? w->joined : PyBytes_AS_STRING(w->only);
}

static void forget_bytes(Writer *w) {
    Py_CLEAR(w->only);
    PyMem_Free(w->joined);
    w->joined = NULL;
    w->held = w->room = 0;
}

static int append_bytes(Writer *w, PyObject *data) {
    if (!has_bytes(w)) {
        w->only = Py_NewRef(data);
        return 0;
    }
    size_t held, size = (size_t)PyBytes_GET_SIZE(data);
    const char *before = bytes_of(w, &held);
    if (held + size > w->room) {
        size_t room = (held + size) * 2;
        char *joined = PyMem_Realloc(w->joined, room);
        if (!joined) return PyErr_NoMemory(), -1;
        if (w->only) memcpy(joined, before, held);
        Py_CLEAR(w->only);
        w->joined = joined;
        w->held = (uint32_t)held;
        w->room = (uint32_t)room;
    }
    memcpy(w->joined + w->held, PyBytes_AS_STRING(data), size);
    w->held += (uint32_t)size;
    return 0;
}

static void cut(Writer *w) {
    forget_bytes(w);
    PyObject *none = PyObject_CallMethod(w->transport, "abort", NULL);
    if (!none) PyErr_WriteUnraisable((PyObject *)w);
    Py_XDECREF(none);
}

/* Hands the transport what waits from `begin` on. It reports a lost connection by itself. */
static void pass_on(Writer *w, size_t begin) {
    size_t size;
    const char *data = bytes_of(w, &size);
    PyObject *rest = PyBytes_FromStringAndSize(data + begin, (Py_ssize_t)(size - begin));
    forget_bytes(w);
    w->through = 1;
    PyObject *none = rest ? PyObject_CallMethodOneArg(w->transport, name_write, rest) : NULL;
    if (rest && !none && PyErr_ExceptionMatches(PyExc_RuntimeError)) PyErr_Clear();
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable((PyObject *)w);
        cut(w); /* bytes would be missing */
    }
    Py_XDECREF(none);
    Py_XDECREF(rest);
}

static void ring_close(Ring *ring) {
    if (ring->fd < 0) return;
    if (ring->rings != MAP_FAILED) munmap(ring->rings, ring->size);
    if ((void *)ring->requests != MAP_FAILED) munmap(ring->requests, ENTRIES * sizeof *ring->requests);
    close(ring->fd);
    ring->fd = -1;
}

/* Opens a ring, and closes it again where the kernel, its settings or a filter of system calls do not allow it. */
static void ring_open(Ring *ring) {
    struct io_uring_params p = {.flags = SINGLE_ISSUER | DEFER_TASKRUN};
    ring->fd = (int)syscall(SYS_io_uring_setup, ENTRIES, &p);
    if (ring->fd < 0) return;
#define AT(offset) ((unsigned *)(ring->rings + (offset)))
    size_t completions = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
    size_t submissions = p.sq_off.array + p.sq_entries * sizeof(unsigned);
    ring->size = completions > submissions ? completions : submissions;
    const int access = PROT_READ | PROT_WRITE, shared = MAP_SHARED | MAP_POPULATE;
    ring->rings = mmap(0, ring->size, access, shared, ring->fd, IORING_OFF_SQ_RING);
    ring->requests = mmap(0, ENTRIES * sizeof *ring->requests, access, shared, ring->fd, IORING_OFF_SQES);
    if (ring->rings == MAP_FAILED || (void *)ring->requests == MAP_FAILED ||
        syscall(SYS_io_uring_enter, ring->fd, 0, 0, IORING_ENTER_GETEVENTS, 0, 0) < 0)
        return ring_close(ring);
    madvise(ring->rings, ring->size, MADV_DONTFORK);
    madvise(ring->requests, ENTRIES * sizeof *ring->requests, MADV_DONTFORK);
    ring->sq_head = AT(p.sq_off.head), ring->sq_tail = AT(p.sq_off.tail), ring->sq_mask = AT(p.sq_off.ring_mask);
    ring->cq_head = AT(p.cq_off.head), ring->cq_tail = AT(p.cq_off.tail), ring->cq_mask = AT(p.cq_off.ring_mask);
    ring->completions = (struct io_uring_cqe *)(ring->rings + p.cq_off.cqes);
    unsigned *array = AT(p.sq_off.array);
    for (unsigned i = 0; i < p.sq_entries; i++) array[i] = i;
}

/* Both set the results of `count` writers: how many bytes the kernel took, or a negative errno. */
static void send_each(Writer **writers, Py_ssize_t count, int32_t *results) {
    for (Py_ssize_t i = 0; i < count; i++) {
        size_t size;
        const char *data = bytes_of(writers[i], &size);
        ssize_t sent = send(writers[i]->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL);
        results[i] = sent < 0 ? -errno : (int32_t)sent;
    }
}

static void send_together(Ring *ring, Writer **writers, Py_ssize_t count, int32_t *results) {
    unsigned tail = *ring->sq_tail;
    for (Py_ssize_t i = 0; i < count; i++, tail++) {
        size_t size;
        struct io_uring_sqe *request = &ring->requests[tail & *ring->sq_mask];
        memset(request, 0, sizeof *request);
        request->opcode = IORING_OP_SEND;
        request->fd = writers[i]->fd;
        request->addr = (uint64_t)(uintptr_t)bytes_of(writers[i], &size);
        request->len = (uint32_t)size;
        request->msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
        request->user_data = (uint64_t)i;
        results[i] = UNKNOWN;
    }
    __atomic_store_n(ring->sq_tail, tail, __ATOMIC_RELEASE);
    for (Py_ssize_t left = count; left;) {
        unsigned unsubmitted = tail - __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE);
        long entered = syscall(SYS_io_uring_enter, ring->fd, unsubmitted, left, IORING_ENTER_GETEVENTS, 0, 0);
        int error = entered < 0 ? errno : 0;
        unsigned head = *ring->cq_head, ready = __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE);
        for (; head != ready; head++, left--) {
            struct io_uring_cqe *completion = &ring->completions[head & *ring->cq_mask];
            results[completion->user_data] = completion->res;
        }
        __atomic_store_n(ring->cq_head, head, __ATOMIC_RELEASE);
        if (error && error != EINTR) {
            /* The kernel refuses the ring now: send what it did not take without it, from now on. */
            unsubmitted = tail - __atomic_load_n(ring->sq_head, __ATOMIC_ACQUIRE);
            send_each(writers + count - unsubmitted, unsubmitted, results + count - unsubmitted);
            return ring_close(ring);
        }
    }
}

/* Sends what waits in ENTRIES writers of a list, or in those up to its end. */
static void send_part(WriteBatch *self, PyObject *all, Py_ssize_t begin) {
    Writer *sending[ENTRIES];
    int32_t results[ENTRIES];
    Py_ssize_t count = 0;
    for (Py_ssize_t i = begin; i < begin + ENTRIES && i < PyList_GET_SIZE(all); i++) {
        Writer *w = (Writer *)PyList_GET_ITEM(all, i);
        w->listed = 0;
        if (has_bytes(w)) sending[count++] = w;
    }
    Py_BEGIN_ALLOW_THREADS
    if (self->ring.fd >= 0 && count > 1)
        send_together(&self->ring, sending, count, results);
    else
        send_each(sending, count, results);
    Py_END_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++) {
        size_t held, sent = results[i] < 0 ? 0 : (size_t)results[i];
        Writer *w = sending[i];
        if (!has_bytes(w)) continue; /* a callback of another transport has ended it */
        bytes_of(w, &held);
        if (results[i] == UNKNOWN)
            cut(w);
        else if (sent < held)
            pass_on(w, sent);
        else
            forget_bytes(w);
    }
}

static PyObject *batch_flush(WriteBatch *self, PyObject *Py_UNUSED(none)) {
    PyObject *all = self->dirty, *next = PyList_New(0); /* what a callback writes meanwhile is for the next flush */
    if (!next) return NULL;
    self->dirty = next;
    self->scheduled = 0;
    for (Py_ssize_t begin = 0; begin < PyList_GET_SIZE(all); begin += ENTRIES) send_part(self, all, begin);
    Py_DECREF(all);
    Py_RETURN_NONE;
}

/* Calls a callable and flushes what it, and others before it, have written. */
static PyObject *batch_run(WriteBatch *self, PyObject *callable) {
    PyObject *type, *error, *trace;
    self->scheduled = 1;
    PyObject *result = PyObject_CallNoArgs(callable);
    PyErr_Fetch(&type, &error, &trace);
    if (!batch_flush(self, NULL)) PyErr_WriteUnraisable((PyObject *)self);
    PyErr_Restore(type, error, trace);
    return result;
}

static int join_batch(WriteBatch *self, Writer *w) {
    if (!self->scheduled) {
        PyObject *flush = PyObject_GetAttrString((PyObject *)self, "flush");
        PyObject *handle = flush ? PyObject_CallOneArg(self->call_soon, flush) : NULL;
        Py_XDECREF(flush);
        Py_XDECREF(handle);
        if (!handle) return -1;
        self->scheduled = 1;
    }
    if (PyList_Append(self->dirty, (PyObject *)w)) return -1;
    w->listed = 1;
    return 0;
}

static PyObject *writer_write(Writer *w, PyObject *data) {
    if (!w->transport) return PyErr_SetString(PyExc_RuntimeError, "the connection is lost"), NULL;
    if (!PyBytes_CheckExact(data)) return PyErr_SetString(PyExc_TypeError, "bytes are expected"), NULL;
    size_t held = 0, size = (size_t)PyBytes_GET_SIZE(data);
    if (!size) Py_RETURN_NONE;
    if (w->through) {
        PyObject *number = PyObject_CallMethodNoArgs(w->transport, name_size);
        if (!number) return NULL;
        w->through = (char)PyObject_IsTrue(number);
        Py_DECREF(number);
    }
    if (has_bytes(w)) bytes_of(w, &held);
    if (w->through || held + size > LARGEST) {
        if (held) pass_on(w, 0);
        w->through = 1;
        return PyObject_CallMethodOneArg(w->transport, name_write, data);
    }
    if ((!w->listed && join_batch(w->batch, w)) || append_bytes(w, data)) return NULL;
    Py_RETURN_NONE;
}

static PyObject *writer_buffered(Writer *w, PyObject *Py_UNUSED(none)) {
    if (!w->through || !w->transport) return PyLong_FromLong(0);
    return PyObject_CallMethodNoArgs(w->transport, name_size);
}

static PyObject *writer_flush(Writer *w, PyObject *Py_UNUSED(none)) {
    if (has_bytes(w)) pass_on(w, 0);
    Py_RETURN_NONE;
}

static int writer_traverse(Writer *w, visitproc visit, void *arg) {
    Py_VISIT(w->transport);
    return 0;
}

static int writer_clear(Writer *w) {
    forget_bytes(w);
    Py_CLEAR(w->transport);
    return 0;
}

static PyObject *writer_lose(Writer *w, PyObject *Py_UNUSED(none)) {
    writer_clear(w);
    Py_RETURN_NONE;
}

static void writer_dealloc(Writer *w) {
    PyObject_GC_UnTrack(w);
    writer_clear(w);
    Py_DECREF(w->batch);
    PyObject_GC_Del(w);
}

static PyObject *batch_writer(WriteBatch *self, PyObject *args) {
    PyObject *transport;
    int fd;
    if (!PyArg_ParseTuple(args, "Oi", &transport, &fd)) return NULL;
    Writer *w = PyObject_GC_New(Writer, &WriterType);
    if (!w) return NULL;
    memset((char *)w + sizeof(PyObject), 0, sizeof *w - sizeof(PyObject));
    w->batch = (WriteBatch *)Py_NewRef((PyObject *)self);
    w->transport = Py_NewRef(transport);
    w->fd = fd;
    w->through = 1;
    PyObject_GC_Track(w);
    return (PyObject *)w;
}

static PyObject *batch_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"call_soon", "io_uring", NULL};
    PyObject *call_soon;
    int io_uring = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$p", names, &call_soon, &io_uring)) return NULL;
    WriteBatch *self = (WriteBatch *)type->tp_alloc(type, 0);
    if (!self) return NULL;
    self->call_soon = Py_NewRef(call_soon);
    self->ring.fd = -1;
    self->dirty = PyList_New(0);
    if (!self->dirty) Py_CLEAR(self);
    if (self && io_uring) ring_open(&self->ring);
    return (PyObject *)self;
}

static void batch_dealloc(WriteBatch *self) {
    Py_XDECREF(self->dirty);
    ring_close(&self->ring);
    Py_XDECREF(self->call_soon);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *batch_path(WriteBatch *self, void *Py_UNUSED(closure)) {
    return PyUnicode_FromString(self->ring.fd < 0 ? "send" : "io_uring");
}

/* The texts in bytes that are nothing but whole texts of a client, each in one frame below 64 KiB; None for others. */
static PyObject *whole_texts(PyObject *Py_UNUSED(module), PyObject *data) {
    if (!PyBytes_CheckExact(data)) return PyErr_SetString(PyExc_TypeError, "bytes are expected"), NULL;
    const uint8_t *at = (const uint8_t *)PyBytes_AS_STRING(data), *end = at + PyBytes_GET_SIZE(data);
    PyObject *found = PyList_New(0);
    while (found && end - at >= 8 && at[0] == 0x81 && at[1] >= 0x80 && at[1] < 0xff) {
        Py_ssize_t size = at[1] == 0xfe ? at[2] << 8 | at[3] : at[1] & 0x7f;
        const uint8_t *mask = at + (at[1] == 0xfe ? 4 : 2);
        if (end - mask < 4 + size) break;
        PyObject *text = PyBytes_FromStringAndSize(NULL, size);
        for (int i = 0; text && i < size; i++) PyBytes_AS_STRING(text)[i] = (char)(mask[4 + i] ^ mask[i & 3]);
        if (!text || PyList_Append(found, text)) Py_CLEAR(found);
        Py_XDECREF(text);
        at = mask + 4 + size;
    }
    if (found && at != end) Py_SETREF(found, Py_NewRef(Py_None));
    return found;
}

static PyMethodDef functions[] = {{"whole_texts", whole_texts, METH_O, NULL}, {NULL}};
static PyMethodDef writer_methods[] = {{"write", (PyCFunction)writer_write, METH_O, NULL},
                                       {"buffered", (PyCFunction)writer_buffered, METH_NOARGS, NULL},
                                       {"flush", (PyCFunction)writer_flush, METH_NOARGS, NULL},
                                       {"lose", (PyCFunction)writer_lose, METH_NOARGS, NULL}, {NULL}};
static PyMethodDef batch_methods[] = {{"writer", (PyCFunction)batch_writer, METH_VARARGS, NULL},
                                      {"run", (PyCFunction)batch_run, METH_O, NULL},
                                      {"flush", (PyCFunction)batch_flush, METH_NOARGS, NULL}, {NULL}};
static PyGetSetDef batch_attributes[] = {{"path", (getter)batch_path, NULL, NULL, NULL}, {NULL}};

static PyTypeObject WriterType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "aerostack_batched_writes.Writer",
    .tp_basicsize = sizeof(Writer), .tp_methods = writer_methods, .tp_clear = (inquiry)writer_clear,
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)writer_dealloc, .tp_traverse = (traverseproc)writer_traverse,
};
static PyTypeObject WriteBatchType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "aerostack_batched_writes.WriteBatch",
    .tp_basicsize = sizeof(WriteBatch), .tp_methods = batch_methods, .tp_getset = batch_attributes,
    .tp_flags = Py_TPFLAGS_DEFAULT, .tp_new = batch_new, .tp_dealloc = (destructor)batch_dealloc,
};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_native", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) {
    name_size = PyUnicode_InternFromString("get_write_buffer_size");
    name_write = PyUnicode_InternFromString("write");
    if (!name_size || !name_write || PyType_Ready(&WriterType)) return NULL;
    PyObject *module = PyType_Ready(&WriteBatchType) ? NULL : PyModule_Create(&definition);
    if (module && PyModule_AddObjectRef(module, "WriteBatch", (PyObject *)&WriteBatchType)) Py_CLEAR(module);
    return module;
}
