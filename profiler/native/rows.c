/* Rows of batches without fourteen Python objects each, and their two forms on the wire: what metercast/shipping/columns.py
 * and batch.py make, to the byte. A Row reads as the tuple it stands for; packing takes rows of both kinds. */
#include "rows.h"
#include <math.h>
#include <string.h>

enum { TIME, USER, OPERATION, CODE, METER, CYCLES, MEMORY, NETWORK, DISK, DURATION, UNITS, NUMBER, PARENT, SOURCE };

static PyObject *fields_of(Row *row) {
    return Py_BuildValue("(LOOLOLLLLddLLO)", row->time_ns, row->user, row->operation, row->code, row->meter, row->cycles,
                         row->memory, row->network, row->disk, (double)row->duration_ns / 1e6, row->units, row->execution,
                         row->parent, row->source);
}

/* Row ------------------------------------------------------------------------------------------------------------------ */

static void row_dealloc(Row *self) {
    Py_DECREF(self->user);
    Py_DECREF(self->operation);
    Py_DECREF(self->meter);
    Py_DECREF(self->source);
    PyObject_Free(self);
}

static Py_ssize_t row_length(PyObject *Py_UNUSED(self)) { return ROW_FIELDS; }

static PyObject *row_item(Row *self, Py_ssize_t place) {
    switch (place) {
    case TIME: return PyLong_FromLongLong(self->time_ns);
    case USER: return Py_NewRef(self->user);
    case OPERATION: return Py_NewRef(self->operation);
    case CODE: return PyLong_FromLongLong(self->code);
    case METER: return Py_NewRef(self->meter);
    case CYCLES: return PyLong_FromLongLong(self->cycles);
    case MEMORY: return PyLong_FromLongLong(self->memory);
    case NETWORK: return PyLong_FromLongLong(self->network);
    case DISK: return PyLong_FromLongLong(self->disk);
    case DURATION: return PyFloat_FromDouble((double)self->duration_ns / 1e6);
    case UNITS: return PyFloat_FromDouble(self->units);
    case NUMBER: return PyLong_FromLongLong(self->execution);
    case PARENT: return PyLong_FromLongLong(self->parent);
    case SOURCE: return Py_NewRef(self->source);
    }
    PyErr_SetString(PyExc_IndexError, "a row has 14 fields");
    return NULL;
}

static PyObject *row_subscript(Row *self, PyObject *key) {
    if (PyIndex_Check(key)) {
        Py_ssize_t place = PyNumber_AsSsize_t(key, PyExc_IndexError);
        if (place == -1 && PyErr_Occurred()) return NULL;
        return row_item(self, place < 0 ? place + ROW_FIELDS : place);
    }
    PyObject *fields = fields_of(self), *part = fields ? PyObject_GetItem(fields, key) : NULL;
    Py_XDECREF(fields);
    return part;
}

static PyObject *row_compare(PyObject *self, PyObject *other, int how) {
    PyObject *mine = fields_of((Row *)self), *theirs = Py_IS_TYPE(other, &RowType) ? fields_of((Row *)other) : Py_NewRef(other);
    PyObject *result = mine && theirs ? PyObject_RichCompare(mine, theirs, how) : NULL;
    Py_XDECREF(mine);
    Py_XDECREF(theirs);
    return result;
}

static PyObject *row_text(PyObject *self) {
    PyObject *fields = fields_of((Row *)self), *text = fields ? PyObject_Repr(fields) : NULL;
    Py_XDECREF(fields);
    return text;
}

static PySequenceMethods row_sequence = {.sq_length = row_length, .sq_item = (ssizeargfunc)row_item};
static PyMappingMethods row_mapping = {.mp_length = row_length, .mp_subscript = (binaryfunc)row_subscript};

PyTypeObject RowType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "metercast._engine.Row",
    .tp_doc = "A row of a batch; reads as the tuple of its 14 fields.",
    .tp_basicsize = sizeof(Row),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_SEQUENCE,
    .tp_dealloc = (destructor)row_dealloc,
    .tp_as_sequence = &row_sequence,
    .tp_as_mapping = &row_mapping,
    .tp_richcompare = row_compare,
    .tp_hash = PyObject_HashNotImplemented,
    .tp_repr = row_text,
};

/* What a row of either kind holds; texts are borrowed from the row. 0: an error is set. */
static int read_row(PyObject *object, Row *row, double *duration_ms) {
    if (Py_IS_TYPE(object, &RowType)) {
        *row = *(Row *)object;
        *duration_ms = (double)row->duration_ns / 1e6;
        return 1;
    }
    if (!PyTuple_Check(object) || PyTuple_GET_SIZE(object) != ROW_FIELDS) {
        PyErr_Format(PyExc_TypeError, "a row is a tuple of 14 fields, not %R", object);
        return 0;
    }
    PyObject **fields = &PyTuple_GET_ITEM(object, 0);
    int64_t *const numbers[ROW_FIELDS] = {[TIME] = &row->time_ns, [CODE] = &row->code, [CYCLES] = &row->cycles,
                                          [MEMORY] = &row->memory, [NETWORK] = &row->network, [DISK] = &row->disk,
                                          [NUMBER] = &row->execution, [PARENT] = &row->parent};
    for (int i = 0; i < ROW_FIELDS; i++)
        if (numbers[i]) *numbers[i] = PyLong_AsLongLong(fields[i]);
    *duration_ms = PyFloat_AsDouble(fields[DURATION]);
    row->duration_ns = -1; /* told in ms */
    row->units = PyFloat_AsDouble(fields[UNITS]);
    row->user = fields[USER], row->operation = fields[OPERATION], row->meter = fields[METER], row->source = fields[SOURCE];
    if (PyErr_Occurred()) return 0;
    if (PyUnicode_Check(row->user) && PyUnicode_Check(row->operation) && PyUnicode_Check(row->meter) &&
        PyUnicode_Check(row->source))
        return 1;
    PyErr_Format(PyExc_TypeError, "user, operation, meter and source of a row are texts, not as in %R", object);
    return 0;
}

/* Columns -------------------------------------------------------------------------------------------------------------- */

/* In the order of metercast.event.COLUMNS: four of names, then numbers, of which these are not integers. */
#define COLUMNS 14
#define DURATION_COLUMN 10
#define UNITS_COLUMN 11

/* The number of a text among those of its column; most rows repeat the last one's. */
static int64_t number_of(PyObject *known, PyObject *list, PyObject *text, PyObject **last, int64_t last_number) {
    if (text == *last) return last_number;
    *last = text;
    PyObject *number = PyDict_GetItemWithError(known, text);
    if (number != NULL) return PyLong_AsLongLong(number);
    int64_t place = PyList_GET_SIZE(list);
    number = PyErr_Occurred() ? NULL : PyLong_FromLongLong(place);
    int failed = number == NULL || PyDict_SetItem(known, text, number) < 0 || PyList_Append(list, text) < 0;
    Py_XDECREF(number);
    return failed ? -1 : place;
}

static void store(unsigned char *to, uint64_t value, int width) {
    for (int i = 0; i < width; i++) to[i] = (unsigned char)(value >> 8 * i); /* little-endian everywhere */
}

/* (letter, base) of a column of integers; its bytes are written behind `to`. */
static PyObject *pack_integers(const int64_t *values, Py_ssize_t count, unsigned char **to) {
    int64_t lowest = count ? values[0] : 0, highest = lowest;
    for (Py_ssize_t i = 1; i < count; i++) {
        if (values[i] < lowest) lowest = values[i];
        if (values[i] > highest) highest = values[i];
    }
    uint64_t span = (uint64_t)highest - (uint64_t)lowest;
    int width = span == 0 ? 0 : span >> 8 == 0 ? 1 : span >> 16 == 0 ? 2 : span >> 32 == 0 ? 4 : 8;
    for (Py_ssize_t i = 0; width && i < count; i++, *to += width)
        store(*to, (uint64_t)values[i] - (uint64_t)lowest, width);
    return Py_BuildValue("(sL)", width == 0 ? "c" : width == 1 ? "B" : width == 2 ? "H" : width == 4 ? "I" : "Q", lowest);
}

static PyObject *pack_floats(const double *values, Py_ssize_t count, unsigned char **to) {
    int is_constant = count == 0 || isfinite(values[0]);
    for (Py_ssize_t i = 1; is_constant && i < count; i++) is_constant = values[i] == values[0];
    if (is_constant) return Py_BuildValue("(sd)", "c", count ? values[0] : 0.0);
    for (Py_ssize_t i = 0; i < count; i++, *to += 8) {
        uint64_t bits;
        memcpy(&bits, &values[i], 8);
        store(*to, bits, 8);
    }
    return Py_BuildValue("(sd)", "d", 0.0);
}

typedef union {
    int64_t integer;
    double number;
} Cell;

static int fill(Cell *cells, Py_ssize_t count, PyObject *rows, PyObject **known, PyObject **texts) {
    PyObject *last[4] = {NULL, NULL, NULL, NULL};
    int64_t last_number[4] = {0, 0, 0, 0};
    for (Py_ssize_t i = 0; i < count; i++) {
        Row row;
        double duration_ms;
        if (!read_row(PySequence_Fast_GET_ITEM(rows, i), &row, &duration_ms)) return 0;
        PyObject *const names[4] = {row.user, row.operation, row.meter, row.source};
        for (int n = 0; n < 4; n++) {
            last_number[n] = number_of(known[n], texts[n], names[n], &last[n], last_number[n]);
            if (last_number[n] < 0) return 0;
            cells[n * count + i].integer = last_number[n];
        }
        const int64_t integers[] = {row.code, row.time_ns, row.cycles, row.memory, row.network, row.disk};
        for (int n = 0; n < 6; n++) cells[(4 + n) * count + i].integer = integers[n];
        cells[10 * count + i].number = duration_ms;
        cells[11 * count + i].number = row.units;
        cells[12 * count + i].integer = row.execution;
        cells[13 * count + i].integer = row.parent;
    }
    return 1;
}

static PyObject *pack(Cell *cells, Py_ssize_t count, PyObject **texts) {
    PyObject *kinds = PyList_New(COLUMNS), *data = PyBytes_FromStringAndSize(NULL, count * COLUMNS * 8), *result = NULL;
    unsigned char *to = data ? (unsigned char *)PyBytes_AS_STRING(data) : NULL;
    for (int n = 0; kinds && data && n < COLUMNS; n++) {
        int is_float = n == DURATION_COLUMN || n == UNITS_COLUMN;
        PyObject *kind = is_float ? pack_floats(&cells[n * count].number, count, &to)
                                  : pack_integers(&cells[n * count].integer, count, &to);
        if (kind == NULL) Py_CLEAR(kinds);
        else PyList_SET_ITEM(kinds, n, kind);
    }
    if (kinds && data && _PyBytes_Resize(&data, (char *)to - PyBytes_AS_STRING(data)) == 0)
        result = Py_BuildValue("((OOOO)OO)", texts[0], texts[1], texts[2], texts[3], kinds, data);
    Py_XDECREF(kinds);
    Py_XDECREF(data);
    return result;
}

/* pack_columns(rows) -> (texts of the four columns of names, [(letter, base)] of the columns, their bytes) */
PyObject *metercast_pack_columns(PyObject *Py_UNUSED(module), PyObject *value) {
    PyObject *rows = PySequence_Fast(value, "pack_columns: a sequence of rows is wanted");
    if (rows == NULL) return NULL;
    Py_ssize_t count = PySequence_Fast_GET_SIZE(rows);
    Cell *cells = PyMem_Malloc(sizeof(Cell) * (size_t)(count * COLUMNS + 1));
    PyObject *known[4], *texts[4], *result = NULL;
    int is_ready = cells != NULL;
    for (int n = 0; n < 4; n++) {
        known[n] = PyDict_New();
        texts[n] = PyList_New(0);
        is_ready = is_ready && known[n] && texts[n];
    }
    if (!is_ready) PyErr_NoMemory();
    else if (fill(cells, count, rows, known, texts)) result = pack(cells, count, texts);
    for (int n = 0; n < 4; n++) {
        Py_XDECREF(known[n]);
        Py_XDECREF(texts[n]);
    }
    PyMem_Free(cells);
    Py_DECREF(rows);
    return result;
}

/* JSON ----------------------------------------------------------------------------------------------------------------- */

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
