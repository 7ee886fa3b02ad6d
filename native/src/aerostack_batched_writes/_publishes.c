/* Publishes that differ from the one before in their data and id only: these out of the bytes of a read, and the frames
 * of the event and of its acknowledgement. All functions are pure. The server has them in Python, and says what they
 * are for: gateway/websocket/publish_shapes.py and protocol/event_frames.py. */

#include <Python.h>
#include <stdint.h>
#include <string.h>

enum {
    LEVELS = 128, /* of arrays and objects inside each other at most: `value` calls itself for each */
    LONGEST_ID = 256,
    LONGEST_EPOCH = 128
};

typedef const uint8_t *Bytes;
typedef struct {
    Bytes bytes; /* NULL for none */
    Py_ssize_t size;
} Part;

static Bytes skip_space(Bytes at, Bytes end) {
    while (at < end && (*at == ' ' || *at == '\t' || *at == '\n' || *at == '\r')) at++;
    return at;
}

static Bytes skip_digits(Bytes at, Bytes end) {
    while (at < end && *at >= '0' && *at <= '9') at++;
    return at;
}

/* These return where a string (after its first quote), a number or a value ends, and NULL where none is. Strings with
 * other characters than ASCII, or with \u, are not taken: the decoder of all other publishes looks at those. */
static Bytes string(Bytes at, Bytes end) {
    for (; at < end; at++) {
        if (*at == '"') return at + 1;
        if (*at < ' ' || *at > '~') return NULL;
        if (*at == '\\' && (++at == end || !*at || !strchr("\"\\/bfnrt", *at))) return NULL;
    }
    return NULL;
}

static Bytes number(Bytes at, Bytes end) {
    if (at < end && *at == '-') at++;
    Bytes whole = skip_digits(at, end);
    if (whole == at || (*at == '0' && whole > at + 1)) return NULL;
    at = whole;
    if (at < end && *at == '.') {
        Bytes fraction = skip_digits(at + 1, end);
        if (fraction == at + 1) return NULL;
        at = fraction;
    }
    if (at < end && (*at | ' ') == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        Bytes exponent = skip_digits(at, end);
        if (exponent == at) return NULL;
        at = exponent;
    }
    return at;
}

static Bytes word(Bytes at, Bytes end, const char *is) {
    size_t size = strlen(is);
    return (size_t)(end - at) >= size && !memcmp(at, is, size) ? at + size : NULL;
}

static Bytes value(Bytes at, Bytes end, int levels) {
    if (at == end) return NULL;
    if (*at == '"') return string(at + 1, end);
    if (*at == 't') return word(at, end, "true");
    if (*at == 'f') return word(at, end, "false");
    if (*at == 'n') return word(at, end, "null");
    if (*at != '{' && *at != '[') return number(at, end);
    const uint8_t closing = *at == '{' ? '}' : ']';
    if (!levels) return NULL;
    at = skip_space(at + 1, end);
    if (at < end && *at == closing) return at + 1;
    for (;;) {
        if (closing == '}') {
            if (at == end || *at != '"' || !(at = string(at + 1, end))) return NULL;
            at = skip_space(at, end);
            if (at == end || *at != ':') return NULL;
            at = skip_space(at + 1, end);
        }
        if (!(at = value(at, end, levels - 1))) return NULL;
        at = skip_space(at, end);
        if (at == end || (*at != ',' && *at != closing)) return NULL;
        if (*at == closing) return at + 1;
        at = skip_space(at + 1, end);
    }
}

static void unmask(uint8_t *to, Bytes masked, Py_ssize_t size, Bytes mask, Py_ssize_t begin) {
    uint8_t turned[8];
    for (int i = 0; i < 8; i++) turned[i] = mask[(begin + i) & 3];
    uint64_t key, eight;
    memcpy(&key, turned, 8);
    Py_ssize_t i = 0;
    for (; i + 8 <= size; i += 8) {
        memcpy(&eight, masked + i, 8);
        eight ^= key;
        memcpy(to + i, &eight, 8);
    }
    for (; i < size; i++) to[i] = masked[i] ^ turned[i & 7];
}

static int begins_with(Bytes masked, Bytes mask, Bytes prefix, Py_ssize_t size) {
    for (Py_ssize_t i = 0; i < size; i++)
        if ((masked[i] ^ mask[i & 3]) != prefix[i]) return 0;
    return 1;
}

/* Where an id ends that needs no escapes in JSON; NULL where none begins. */
static Bytes plain_id(Bytes at, Bytes end) {
    Bytes first = at;
    while (at < end && *at >= ' ' && *at <= '~' && *at != '"' && *at != '\\') at++;
    return at == first || at - first > LONGEST_ID ? NULL : at;
}

/* What differs in one text, of which everything `before` the data was found: the data, the id, or None if there is
 * nothing `between` them, and the `size` of the text. NULL, without an exception, if the rest is not of the shape. */
static PyObject *differing(Bytes at, Bytes end, Part between, Part behind, int levels, Py_ssize_t size) {
    Bytes until = value(at, end, levels), id = NULL, rest = until;
    if (until && between.bytes) {
        if (end - until < between.size || memcmp(until, between.bytes, (size_t)between.size)) return NULL;
        id = until + between.size;
        rest = plain_id(id, end);
    }
    if (!rest || end - rest != behind.size || memcmp(rest, behind.bytes, (size_t)behind.size)) return NULL;
    PyObject *data = PyBytes_FromStringAndSize((const char *)at, until - at), *number = PyLong_FromSsize_t(size);
    PyObject *text = id ? PyUnicode_DecodeASCII((const char *)id, rest - id, NULL) : Py_NewRef(Py_None);
    PyObject *all = data && text && number ? PyTuple_Pack(3, data, text, number) : NULL;
    Py_XDECREF(data);
    Py_XDECREF(number);
    Py_XDECREF(text);
    return all;
}

/* What differs in the texts in bytes that are nothing but whole texts of a client, all of the same shape; None for any
 * others. `levels` bounds the data. */
static PyObject *repeated_publishes(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    Part parts[4] = {{0}}; /* the read, and what is before, between and behind */
    for (int i = 0; i < 4 && count == 5; i++) {
        if (PyBytes_CheckExact(arguments[i]))
            parts[i] = (Part){(Bytes)PyBytes_AS_STRING(arguments[i]), PyBytes_GET_SIZE(arguments[i])};
        else if (i != 2 || arguments[i] != Py_None)
            count = 0;
    }
    if (count != 5) return PyErr_SetString(PyExc_TypeError, "four times bytes, and levels are expected"), NULL;
    long levels = PyLong_AsLong(arguments[4]);
    if (levels == -1 && PyErr_Occurred()) return NULL;
    levels = levels < 0 ? 0 : levels > LEVELS ? LEVELS : levels;
    Bytes at = parts[0].bytes, end = at + parts[0].size;
    const Py_ssize_t begin = parts[1].size;
    uint8_t *rest = PyMem_Malloc((size_t)parts[0].size + 1);
    PyObject *found = rest ? PyList_New(0) : PyErr_NoMemory();
    while (found && end - at >= 8 && at[0] == 0x81 && at[1] >= 0x80 && at[1] < 0xff) {
        Py_ssize_t size = at[1] == 0xfe ? at[2] << 8 | at[3] : at[1] & 0x7f;
        Bytes mask = at + (at[1] == 0xfe ? 4 : 2), text = mask + 4;
        if (end - mask < 4 + size || size < begin || !begins_with(text, mask, parts[1].bytes, begin)) break;
        unmask(rest, text + begin, size - begin, mask, begin);
        PyObject *each = differing(rest, rest + size - begin, parts[2], parts[3], (int)levels, size);
        const int is_kept = each && !PyList_Append(found, each);
        Py_XDECREF(each);
        if (!is_kept) break;
        at = text + size;
    }
    PyMem_Free(rest);
    if (found && PyErr_Occurred()) Py_CLEAR(found);
    if (found && (at != end || !PyList_GET_SIZE(found))) Py_SETREF(found, Py_NewRef(Py_None));
    return found;
}

static char *put(char *to, const char *bytes, size_t size) { return memcpy(to, bytes, size), to + size; }

static char *put_number(char *to, unsigned long long number, unsigned base) {
    char digits[24], *first = digits + sizeof digits;
    do *--first = "0123456789abcdef"[number % base];
    while (number /= base);
    return put(to, first, (size_t)(digits + sizeof digits - first));
}

#define PUT(to, literal) put(to, literal, sizeof literal - 1)

/* A text frame of these parts. */
static PyObject *text_frame(const Part *parts, int count) {
    size_t size = 0;
    for (int i = 0; i < count; i++) size += (size_t)parts[i].size;
    const int length = size < 126 ? 0 : size < 65536 ? 2 : 8;
    PyObject *frame = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size + 2 + length);
    if (!frame) return NULL;
    char *at = PyBytes_AS_STRING(frame);
    *at++ = (char)0x81;
    *at++ = (char)(length == 0 ? size : length == 2 ? 126 : 127);
    for (int i = length - 1; i >= 0; i--) *at++ = (char)(size >> (8 * i));
    for (int i = 0; i < count; i++) at = put(at, (const char *)parts[i].bytes, (size_t)parts[i].size);
    return frame;
}

/* The UTF-8 of a text of at most `longest` bytes; without any, and with an exception, if it is longer or no text. */
static Part short_text(PyObject *text, Py_ssize_t longest) {
    Part part = {0};
    part.bytes = (Bytes)PyUnicode_AsUTF8AndSize(text, &part.size);
    if (!part.bytes || part.size <= longest) return part;
    PyErr_SetString(PyExc_ValueError, "an id or an epoch is too long");
    return (Part){0};
}

/* The text frame of an event: `begin` is its JSON up to the data, `end` what follows the cursor. */
static PyObject *published_frame(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 7 || !PyBytes_CheckExact(arguments[0]) || !PyBytes_CheckExact(arguments[1]) ||
        !PyBytes_CheckExact(arguments[5]))
        return PyErr_SetString(PyExc_TypeError, "begin, data, timestamp, position, epoch, end and id are expected"), NULL;
    const unsigned long long timestamp = PyLong_AsUnsignedLongLong(arguments[2]);
    const unsigned long long position = PyLong_AsUnsignedLongLong(arguments[3]);
    if (PyErr_Occurred()) return NULL;
    const Part epoch = short_text(arguments[4], LONGEST_EPOCH);
    Part id = {(Bytes) "", 0};
    if (epoch.bytes && arguments[6] != Py_None) id = short_text(arguments[6], LONGEST_ID);
    if (!epoch.bytes || !id.bytes) return NULL;
    char between[160 + LONGEST_EPOCH + LONGEST_ID], *to = between;
    to = PUT(put_number(PUT(to, ",\"timestamp\":"), timestamp, 10), ",\"id\":\"");
    to = id.size ? put(to, (const char *)id.bytes, (size_t)id.size) : put_number(to, position, 16);
    to = put(PUT(to, "\",\"cursor\":\""), (const char *)epoch.bytes, (size_t)epoch.size);
    to = PUT(put_number(PUT(to, "."), position, 10), "\"");
    Part parts[4] = {{0}, {0}, {(Bytes)between, to - between}, {0}};
    for (int i = 0; i < 4; i++)
        if (i != 2) {
            PyObject *part = arguments[i == 3 ? 5 : i];
            parts[i] = (Part){(Bytes)PyBytes_AS_STRING(part), PyBytes_GET_SIZE(part)};
        }
    return text_frame(parts, 4);
}

/* The text frame that acknowledges a publish. */
static PyObject *ack_frame(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 4) return PyErr_SetString(PyExc_TypeError, "id, timestamp, position and epoch are expected"), NULL;
    const unsigned long long timestamp = PyLong_AsUnsignedLongLong(arguments[1]);
    const unsigned long long position = PyLong_AsUnsignedLongLong(arguments[2]);
    if (PyErr_Occurred()) return NULL;
    const Part id = short_text(arguments[0], LONGEST_ID);
    const Part epoch = id.bytes ? short_text(arguments[3], LONGEST_EPOCH) : id;
    if (!epoch.bytes) return NULL;
    char text[160 + LONGEST_EPOCH + LONGEST_ID], *to = text;
    to = put(PUT(to, "{\"type\":\"ack\",\"id\":\""), (const char *)id.bytes, (size_t)id.size);
    to = put(PUT(to, "\",\"cursor\":\""), (const char *)epoch.bytes, (size_t)epoch.size);
    to = put_number(PUT(to, "."), position, 10);
    to = PUT(put_number(PUT(to, "\",\"timestamp\":"), timestamp, 10), "}");
    return text_frame(&(Part){(Bytes)text, to - text}, 1);
}

#define FAST(name) \
    { #name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL }

static PyMethodDef functions[] = {FAST(repeated_publishes), FAST(published_frame), FAST(ack_frame), {NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_publishes", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__publishes(void) { return PyModule_Create(&definition); }
