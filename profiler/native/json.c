/* The events of a batch as JSON: what metercast/shipping/batch.py makes, to the byte. */
#include "rows.h"
#include <math.h>
#include <string.h>

typedef struct {
    char *text;
    size_t size, room;
} Text;

static int append(Text *to, const char *part, size_t size) {
    if (to->size + size > to->room) {
        size_t room = (to->size + size) * 2;
        char *text = PyMem_Realloc(to->text, room);
        if (text == NULL) {
            PyErr_NoMemory();
            return 0;
        }
        to->text = text, to->room = room;
    }
    memcpy(to->text + to->size, part, size);
    to->size += size;
    return 1;
}

static int append_integer(Text *to, int64_t value) {
    char digits[24];
    int at = 24;
    uint64_t left = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do digits[--at] = (char)('0' + left % 10);
    while (left /= 10);
    if (value < 0) digits[--at] = '-';
    return append(to, digits + at, (size_t)(24 - at));
}

static int append_double(Text *to, double value) {
    if (value == 0.0 && !signbit(value)) return append(to, "0.0", 3);
    if (value == 1.0) return append(to, "1.0", 3);
    char *text = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    int is_appended = text && append(to, text, strlen(text));
    PyMem_Free(text);
    return is_appended;
}

/* Nanoseconds as milliseconds. Up to 15 digits the shortest decimal of the quotient is the exact one. */
static int append_milliseconds(Text *to, int64_t ns) {
    if (ns < 100 || ns >= 1000000000000000) return append_double(to, (double)ns / 1e6);
    char fraction[7] = ".000000";
    int64_t left = ns % 1000000;
    for (int i = 6; i > 0; i--, left /= 10) fraction[i] = (char)('0' + left % 10);
    size_t size = 7;
    while (size > 2 && fraction[size - 1] == '0') size--;
    return append_integer(to, ns / 1000000) && append(to, fraction, size);
}

/* What was made last, as rows of one run repeat it. */
typedef struct {
    PyObject *user, *operation, *meter, *source; /* borrowed from rows */
    int64_t code, time_ns;
    PyObject *names;  /* (head, tail) */
    PyObject *quoted; /* the source */
    char time[40];
    size_t time_size;
} Made;

#define LITERAL(to, text) append(to, text, sizeof text - 1)

static int append_text(Text *to, PyObject *text) {
    Py_ssize_t size = 0;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &size);
    return bytes && append(to, bytes, (size_t)size);
}

static int prepare(Made *made, const Row *row, PyObject *names_of, PyObject *quote) {
    if (made->time_ns != row->time_ns || made->time_size == 0) {
        char *text = PyOS_double_to_string((double)row->time_ns / 1e9, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
        if (text == NULL) return 0;
        made->time_size = strlen(text);
        memcpy(made->time, text, made->time_size);
        made->time_ns = row->time_ns;
        PyMem_Free(text);
    }
    if (made->source != row->source) {
        Py_XSETREF(made->quoted, PyObject_CallOneArg(quote, row->source));
        made->source = row->source;
    }
    if (made->names == NULL || made->user != row->user || made->operation != row->operation ||
        made->meter != row->meter || made->code != row->code) {
        Py_XSETREF(made->names, PyObject_CallFunction(names_of, "OOLO", row->user, row->operation, row->code, row->meter));
        made->user = row->user, made->operation = row->operation, made->meter = row->meter, made->code = row->code;
    }
    return made->quoted && made->names && PyTuple_Check(made->names) && PyTuple_GET_SIZE(made->names) == 2;
}

static int append_event(Text *to, const Row *row, double duration_ms, const Made *made) {
    return LITERAL(to, "{\"timestamp\":") && append(to, made->time, made->time_size) &&
           append_text(to, PyTuple_GET_ITEM(made->names, 0)) && append_integer(to, row->cycles) &&
           LITERAL(to, ",\"memoryBytes\":") && append_integer(to, row->memory) &&
           LITERAL(to, ",\"networkBytes\":") && append_integer(to, row->network) &&
           LITERAL(to, ",\"diskBytes\":") && append_integer(to, row->disk) &&
           LITERAL(to, ",\"executionTimeMs\":") &&
           (row->duration_ns < 0 ? append_double(to, duration_ms) : append_milliseconds(to, row->duration_ns)) &&
           append_text(to, PyTuple_GET_ITEM(made->names, 1)) && append_integer(to, row->execution) &&
           LITERAL(to, ",\"parentExecutionID\":") && append_integer(to, row->parent) && LITERAL(to, ",\"units\":") &&
           append_double(to, row->units) && LITERAL(to, ",\"source\":") && append_text(to, made->quoted) &&
           LITERAL(to, "}");
}

/* json_events(rows, names_of, quote) -> bytes: the events, separated by commas */
PyObject *metercast_json_events(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *value, *names_of, *quote;
    if (!PyArg_ParseTuple(args, "OOO", &value, &names_of, &quote)) return NULL;
    PyObject *rows = PySequence_Fast(value, "json_events: a sequence of rows is wanted"), *result = NULL;
    if (rows == NULL) return NULL;
    Text text = {NULL, 0, 0};
    Made made = {0};
    Py_ssize_t count = PySequence_Fast_GET_SIZE(rows), i = 0;
    for (; i < count; i++) {
        Row row;
        double duration_ms;
        if (!read_row(PySequence_Fast_GET_ITEM(rows, i), &row, &duration_ms)) break;
        if (!prepare(&made, &row, names_of, quote)) break;
        if ((i && !LITERAL(&text, ",")) || !append_event(&text, &row, duration_ms, &made)) break;
    }
    if (i == count) result = PyBytes_FromStringAndSize(text.text, (Py_ssize_t)text.size);
    else if (!PyErr_Occurred()) PyErr_SetString(PyExc_TypeError, "json_events: names_of gives no pair of texts");
    Py_XDECREF(made.names);
    Py_XDECREF(made.quoted);
    PyMem_Free(text.text);
    Py_DECREF(rows);
    return result;
}
