/* A batch as columns, packed: what metercast/shipping/columns.py makes, to the byte. */
#include "rows.h"
#include <math.h>
#include <string.h>

#define ENOUGH 512 /* rows that are worth letting go of the GIL for */

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

/* How a column is packed; its bytes are written behind `to`. Touches no Python object. */
typedef struct {
    char letter;
    int64_t lowest;
    double constant;
} Packing;

static Packing pack_integers(const int64_t *values, Py_ssize_t count, unsigned char **to) {
    int64_t lowest = count ? values[0] : 0, highest = lowest;
    for (Py_ssize_t i = 1; i < count; i++) {
        if (values[i] < lowest) lowest = values[i];
        if (values[i] > highest) highest = values[i];
    }
    uint64_t span = (uint64_t)highest - (uint64_t)lowest;
    int width = span == 0 ? 0 : span >> 8 == 0 ? 1 : span >> 16 == 0 ? 2 : span >> 32 == 0 ? 4 : 8;
    for (Py_ssize_t i = 0; width && i < count; i++, *to += width)
        store(*to, (uint64_t)values[i] - (uint64_t)lowest, width);
    return (Packing){.letter = "cBH I   Q"[width], .lowest = lowest};
}

static Packing pack_floats(const double *values, Py_ssize_t count, unsigned char **to) {
    int is_constant = count == 0 || isfinite(values[0]);
    for (Py_ssize_t i = 1; is_constant && i < count; i++) is_constant = values[i] == values[0];
    if (is_constant) return (Packing){.letter = 'c', .constant = count ? values[0] : 0.0};
    for (Py_ssize_t i = 0; i < count; i++, *to += 8) {
        uint64_t bits;
        memcpy(&bits, &values[i], 8);
        store(*to, bits, 8);
    }
    return (Packing){.letter = 'd'};
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

static inline int is_float(int column) { return column == DURATION_COLUMN || column == UNITS_COLUMN; }

/* [(letter, base)] of the columns. */
static PyObject *kinds_of(const Packing *packings) {
    PyObject *kinds = PyList_New(COLUMNS);
    for (int n = 0; kinds && n < COLUMNS; n++) {
        const Packing *one = &packings[n];
        PyObject *kind = is_float(n) ? Py_BuildValue("(Cd)", (int)one->letter, one->constant)
                                     : Py_BuildValue("(CL)", (int)one->letter, one->lowest);
        if (kind == NULL) Py_CLEAR(kinds);
        else PyList_SET_ITEM(kinds, n, kind);
    }
    return kinds;
}

static PyObject *pack(Cell *cells, Py_ssize_t count, PyObject **texts) {
    Packing packings[COLUMNS];
    PyObject *data = PyBytes_FromStringAndSize(NULL, count * COLUMNS * 8), *result = NULL;
    if (data == NULL) return NULL;
    unsigned char *to = (unsigned char *)PyBytes_AS_STRING(data);
    PyThreadState *state = count >= ENOUGH ? PyEval_SaveThread() : NULL;
    for (int n = 0; n < COLUMNS; n++)
        packings[n] = is_float(n) ? pack_floats(&cells[n * count].number, count, &to)
                                  : pack_integers(&cells[n * count].integer, count, &to);
    if (state) PyEval_RestoreThread(state);
    PyObject *kinds = kinds_of(packings);
    if (kinds && _PyBytes_Resize(&data, (char *)to - PyBytes_AS_STRING(data)) == 0)
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
