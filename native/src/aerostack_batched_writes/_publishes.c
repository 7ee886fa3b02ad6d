/* Publishes that differ from the one before in their data only: the data out of the bytes of a read, and the frame of
 * the event. Both functions are pure; protocol/repeated.py has them in Python, and says what they are for. */

#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { LEVELS = 128 }; /* of arrays and objects inside each other at most: `value` calls itself for each */

typedef const uint8_t *Bytes;

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

/* The data of the texts in bytes that are nothing but whole texts of a client, each with `prefix`, one JSON value and a
 * closing brace; None for any others. `levels` bounds the value. */
static PyObject *repeated_data(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    if (count != 3 || !PyBytes_CheckExact(arguments[0]) || !PyBytes_CheckExact(arguments[1]))
        return PyErr_SetString(PyExc_TypeError, "bytes, bytes and levels are expected"), NULL;
    Bytes at = (Bytes)PyBytes_AS_STRING(arguments[0]), end = at + PyBytes_GET_SIZE(arguments[0]);
    Bytes prefix = (Bytes)PyBytes_AS_STRING(arguments[1]);
    const Py_ssize_t begin = PyBytes_GET_SIZE(arguments[1]);
    long levels = PyLong_AsLong(arguments[2]);
    if (levels == -1 && PyErr_Occurred()) return NULL;
    levels = levels < 0 ? 0 : levels > LEVELS ? LEVELS : levels;
    PyObject *found = PyList_New(0);
    while (found && end - at >= 8 && at[0] == 0x81 && at[1] >= 0x80 && at[1] < 0xff) {
        Py_ssize_t size = at[1] == 0xfe ? at[2] << 8 | at[3] : at[1] & 0x7f;
        Bytes mask = at + (at[1] == 0xfe ? 4 : 2), text = mask + 4;
        if (end - mask < 4 + size || size < begin + 2 || !begins_with(text, mask, prefix, begin)) break;
        if ((text[size - 1] ^ mask[(size - 1) & 3]) != '}') break;
        PyObject *data = PyBytes_FromStringAndSize(NULL, size - begin - 1);
        if (!data) return Py_DECREF(found), NULL;
        uint8_t *to = (uint8_t *)PyBytes_AS_STRING(data);
        unmask(to, text + begin, size - begin - 1, mask, begin);
        const int is_value = value(to, to + size - begin - 1, (int)levels) == to + size - begin - 1;
        if (is_value && PyList_Append(found, data)) Py_CLEAR(found);
        Py_DECREF(data);
        if (!is_value) break;
        at = text + size;
    }
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

/* The text frame of an event: `begin` is its JSON up to the data, `end` what follows the cursor. */
static PyObject *event_frame(PyObject *Py_UNUSED(module), PyObject *const *arguments, Py_ssize_t count) {
    Py_ssize_t epoch_size = 0;
    if (count != 6 || !PyBytes_CheckExact(arguments[0]) || !PyBytes_CheckExact(arguments[1]) ||
        !PyBytes_CheckExact(arguments[5]))
        return PyErr_SetString(PyExc_TypeError, "begin, data, timestamp, position, epoch and end are expected"), NULL;
    const unsigned long long timestamp = PyLong_AsUnsignedLongLong(arguments[2]);
    const unsigned long long position = PyLong_AsUnsignedLongLong(arguments[3]);
    const char *epoch = PyUnicode_AsUTF8AndSize(arguments[4], &epoch_size);
    if (!epoch || PyErr_Occurred()) return NULL;
    if (epoch_size > 128) return PyErr_SetString(PyExc_ValueError, "an epoch has at most 128 bytes"), NULL;
    char between[256], *to = between;
    to = put_number(PUT(to, ",\"timestamp\":"), timestamp, 10);
    to = put_number(PUT(to, ",\"id\":\""), position, 16);
    to = put(PUT(to, "\",\"cursor\":\""), epoch, (size_t)epoch_size);
    to = PUT(put_number(PUT(to, "."), position, 10), "\"");
    PyObject *const parts[] = {arguments[0], arguments[1], NULL, arguments[5]};
    size_t size = (size_t)(to - between);
    for (int i = 0; i < 4; i++) size += parts[i] ? (size_t)PyBytes_GET_SIZE(parts[i]) : 0;
    const int length = size < 126 ? 0 : size < 65536 ? 2 : 8;
    PyObject *frame = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size + 2 + length);
    if (!frame) return NULL;
    char *at = PyBytes_AS_STRING(frame);
    *at++ = (char)0x81;
    *at++ = (char)(length == 0 ? size : length == 2 ? 126 : 127);
    for (int i = length - 1; i >= 0; i--) *at++ = (char)(size >> (8 * i));
    for (int i = 0; i < 4; i++)
        at = parts[i] ? put(at, PyBytes_AS_STRING(parts[i]), (size_t)PyBytes_GET_SIZE(parts[i]))
                      : put(at, between, (size_t)(to - between));
    return frame;
}

static PyMethodDef functions[] = {{"repeated_data", (PyCFunction)(void (*)(void))repeated_data, METH_FASTCALL, NULL},
                                  {"event_frame", (PyCFunction)(void (*)(void))event_frame, METH_FASTCALL, NULL},
                                  {NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_publishes", NULL, -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__publishes(void) { return PyModule_Create(&definition); }
