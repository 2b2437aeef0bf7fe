/* Decodes a JSON array of events into columns, for bodies whose every event is plainly good.
 *
 * decode(body, start, table, longest, allowed) looks at body[start:], which must begin with an array of objects. It gives
 * None wherever anything is unusual (an unknown escape, another type, a number that is not exact, a missing member): the
 * caller then decodes in Python, with reasons. It reads no byte outside the body: every step compares with the end.
 *
 * Columns: numbers as 8-byte buffers; strings as Arrow's offsets (int32) and bytes. One table, given by the caller,
 * says which members there are.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define MOST_FIELDS 32
#define LONGEST_KEY 32
#define MOST_ALLOWED 64
enum kind { TIME = 't', TEXT = 's', NAME = 'n', ENUM = 'e', COUNT = 'c', AMOUNT = 'a', INTEGER = 'i' };

static int is_text(int kind) { return kind == TEXT || kind == NAME || kind == ENUM; }

typedef struct {
    char name[LONGEST_KEY];
    Py_ssize_t length;
    char kind;
    int nested;    /* stands inside resourceUsage */
    int required;
    uint8_t *data; /* numbers, or the bytes of strings */
    Py_ssize_t size, room;
    int32_t *offsets;
} Column;

typedef struct {
    const uint8_t *at, *end;
    Column columns[MOST_FIELDS];
    int count;
    Py_ssize_t rows, room;
    Py_ssize_t longest;
    const char *allowed[MOST_ALLOWED]; /* the values of an ENUM */
    Py_ssize_t allowed_lengths[MOST_ALLOWED];
    int allowed_count;
} Decoder;

static void skip_space(Decoder *d) {
    while (d->at < d->end && (*d->at == ' ' || *d->at == '\n' || *d->at == '\t' || *d->at == '\r')) d->at++;
}

static int take(Decoder *d, uint8_t letter) {
    skip_space(d);
    if (d->at >= d->end || *d->at != letter) return 0;
    d->at++;
    return 1;
}

/* Whether one of the next eight bytes is a quote, a backslash or a control character: the usual trick on words, where
 * a byte's highest bit is set by a borrow when the byte was smaller than what was taken off it. */
static int has_special(const uint8_t *at) {
    const uint64_t ones = UINT64_C(0x0101010101010101), high = UINT64_C(0x8080808080808080);
    uint64_t word;
    memcpy(&word, at, 8);
    uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
    return (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((word - ones * 0x20) & ~word)) & high ? 1 : 0;
}

/* A string without escapes, its quotes left out; 0 where there is none such. */
static int take_text(Decoder *d, const uint8_t **text, Py_ssize_t *length) {
    if (!take(d, '"')) return 0;
    const uint8_t *start = d->at, *at = start, *end = d->end;
    while (end - at >= 8 && !has_special(at)) at += 8;
    while (at < end && *at != '"') {
        if (*at == '\\' || *at < 0x20) return 0;
        at++;
    }
    if (at >= end) return 0;
    *text = start;
    *length = at - start;
    d->at = at + 1;
    return 1;
}

static int is_digit(uint8_t letter) { return (unsigned)letter - '0' <= 9; }

/* JSON's grammar of numbers; is_float where it has a fraction or an exponent. */
static int take_number(Decoder *d, const uint8_t **text, Py_ssize_t *length, int *is_float) {
    skip_space(d);
    const uint8_t *start = d->at, *at = start, *end = d->end;
    *is_float = 0;
    if (at < end && *at == '-') at++;
    if (at >= end || !is_digit(*at)) return 0;
    if (*at == '0') at++;
    else while (at < end && is_digit(*at)) at++;
    if (at < end && *at == '.') {
        *is_float = 1;
        at++;
        if (at >= end || !is_digit(*at)) return 0;
        while (at < end && is_digit(*at)) at++;
    }
    if (at < end && (*at == 'e' || *at == 'E')) return 0; /* rare: left to Python */
    d->at = at;
    *text = start;
    *length = d->at - start;
    return 1;
}

/* Exact where all digits fit into 53 bits and the power of ten is at most 22 (Clinger 1990); 0 otherwise. */
static int exact_double(const uint8_t *text, Py_ssize_t length, double *value) {
    static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    uint64_t digits = 0;
    Py_ssize_t at = length > 0 && text[0] == '-', fraction = 0;
    int negative = at == 1;
    if (length > 19) return 0; /* so that the sum of the digits cannot overflow */
    while (at < length && text[at] != '.') digits = digits * 10 + (uint64_t)(text[at++] - '0');
    if (at < length) fraction = length - ++at;
    while (at < length) digits = digits * 10 + (uint64_t)(text[at++] - '0');
    if (digits > (UINT64_C(1) << 53)) return 0;
    *value = (double)digits / POWERS[fraction];
    if (negative) *value = -*value;
    return 1;
}

static int slow_double(const uint8_t *text, Py_ssize_t length, double *value) {
    char copy[64];
    if (length >= (Py_ssize_t)sizeof copy) return 0;
    memcpy(copy, text, (size_t)length);
    copy[length] = 0;
    *value = PyOS_string_to_double(copy, NULL, NULL);
    if (*value == -1.0 && PyErr_Occurred()) { PyErr_Clear(); return 0; }
    return isfinite(*value);
}

static int whole(const uint8_t *text, Py_ssize_t length, int64_t *value) {
    int negative = length > 0 && text[0] == '-';
    if (length - negative > 18) return 0;
    int64_t sum = 0;
    for (Py_ssize_t i = negative; i < length; i++) sum = sum * 10 + (text[i] - '0');
    *value = negative ? -sum : sum;
    return 1;
}

static int grow(Column *column, Py_ssize_t more) {
    if (column->size + more <= column->room) return 1;
    Py_ssize_t room = 2 * column->room + more;
    if (room > INT32_MAX) return 0;
    uint8_t *data = PyMem_Realloc(column->data, (size_t)room);
    if (data == NULL) return 0;
    column->data = data;
    column->room = room;
    return 1;
}

static int grow_rows(Decoder *d) {
    if (d->rows < d->room) return 1;
    Py_ssize_t room = 2 * d->room + 64;
    for (int i = 0; i < d->count; i++) {
        Column *column = &d->columns[i];
        if (is_text(column->kind)) {
            int32_t *offsets = PyMem_Realloc(column->offsets, (size_t)(room + 1) * sizeof *offsets);
            if (offsets == NULL) return 0;
            if (column->offsets == NULL) offsets[0] = 0;
            column->offsets = offsets;
        } else if (!grow(column, room * 8)) return 0; /* `size` of a column of numbers stays 0 */
    }
    d->room = room;
    return 1;
}

static int is_allowed(const Decoder *d, const uint8_t *text, Py_ssize_t length) {
    for (int i = 0; i < d->allowed_count; i++)
        if (d->allowed_lengths[i] == length && memcmp(d->allowed[i], text, (size_t)length) == 0) return 1;
    return 0;
}

static int take_value(Decoder *d, Column *column) {
    const uint8_t *text;
    Py_ssize_t length;
    if (is_text(column->kind)) {
        if (!take_text(d, &text, &length) || length > d->longest || (column->required && length == 0)) return 0;
        if (column->kind == NAME && memchr(text, '|', (size_t)length) != NULL) return 0;
        if (column->kind == ENUM && !is_allowed(d, text, length)) return 0;
        if (!grow(column, length)) return 0;
        memcpy(column->data + column->size, text, (size_t)length);
        column->size += length;
        return 1;
    }
    int is_float;
    if (!take_number(d, &text, &length, &is_float)) return 0;
    if (column->kind == COUNT || column->kind == INTEGER) {
        int64_t value;
        if (is_float || !whole(text, length, &value) || (column->kind == COUNT && value < 0)) return 0;
        memcpy(column->data + d->rows * 8, &value, 8);
        return 1;
    }
    double value;
    if (!exact_double(text, length, &value) && !slow_double(text, length, &value)) return 0;
    if (column->kind == AMOUNT && value < 0) return 0;
    if (value == 0) value = 0; /* not the negative zero */
    memcpy(column->data + d->rows * 8, &value, 8);
    return 1;
}

static int find(Decoder *d, const uint8_t *name, Py_ssize_t length, int nested, int guess) {
    for (int i = 0; i < d->count; i++) { /* members mostly come in the same order */
        int place = (guess + i) % d->count;
        Column *column = &d->columns[place];
        if (column->nested == nested && column->length == length && memcmp(column->name, name, (size_t)length) == 0)
            return place;
    }
    return -1;
}

/* Whether the member that is guessed stands here; then it is passed by. Half of a body's bytes are names. */
static int expected(Decoder *d, int nested, int guess) {
    skip_space(d);
    const Column *column = &d->columns[guess];
    Py_ssize_t length = column->length;
    if (column->nested != nested || d->end - d->at < length + 2 || d->at[0] != '"' || d->at[length + 1] != '"' ||
        memcmp(d->at + 1, column->name, (size_t)length) != 0)
        return -1;
    d->at += length + 2;
    return guess;
}

/* The members of one object; what was seen is noted in `seen`. Unknown members are left to Python. */
static int take_object(Decoder *d, int nested, uint32_t *seen, int *guess) {
    if (!take(d, '{')) return 0;
    if (take(d, '}')) return 1;
    do {
        const uint8_t *name;
        Py_ssize_t length;
        int place = expected(d, nested, *guess);
        if (place < 0 && !take_text(d, &name, &length)) return 0;
        if (!take(d, ':')) return 0;
        if (place < 0 && !nested && length == 13 && memcmp(name, "resourceUsage", 13) == 0) {
            if (*seen & (UINT32_C(1) << 31)) return 0;
            *seen |= UINT32_C(1) << 31;
            if (!take_object(d, 1, seen, guess)) return 0;
            continue;
        }
        if (place < 0) place = find(d, name, length, nested, *guess);
        if (place < 0 || (*seen & (UINT32_C(1) << place))) return 0; /* a member given twice too */
        *seen |= UINT32_C(1) << place;
        if (!take_value(d, &d->columns[place])) return 0;
        *guess = place + 1 < d->count ? place + 1 : 0;
    } while (take(d, ','));
    return take(d, '}');
}

static int take_event(Decoder *d) {
    uint32_t seen = 0;
    int guess = 0;
    if (!grow_rows(d) || !take_object(d, 0, &seen, &guess)) return 0;
    for (int i = 0; i < d->count; i++) {
        Column *column = &d->columns[i];
        int there = (seen >> i) & 1;
        if (!there && column->required) return 0;
        if (is_text(column->kind)) column->offsets[d->rows + 1] = (int32_t)column->size;
        else if (!there) memset(column->data + d->rows * 8, 0, 8);
    }
    d->rows++;
    return 1;
}

static int take_events(Decoder *d) {
    if (!take(d, '[')) return 0;
    if (take(d, ']')) return 1;
    do {
        if (!take_event(d)) return 0;
    } while (take(d, ','));
    return take(d, ']');
}

static int read_table(Decoder *d, PyObject *table) {
    Py_ssize_t count = PyTuple_Size(table);
    if (count < 0 || count >= MOST_FIELDS - 1) {
        PyErr_SetString(PyExc_ValueError, "a table of 1 to 30 fields");
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        const char *name;
        Py_ssize_t length;
        int kind;
        Column *column = &d->columns[i];
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(table, i), "s#Cpp", &name, &length, &kind, &column->nested,
                              &column->required))
            return 0;
        if (length >= LONGEST_KEY) {
            PyErr_SetString(PyExc_ValueError, "a field's name is too long");
            return 0;
        }
        memcpy(column->name, name, (size_t)length);
        column->length = length;
        column->kind = (char)kind;
    }
    d->count = (int)count;
    return 1;
}

static int read_allowed(Decoder *d, PyObject *allowed) {
    Py_ssize_t count = PyTuple_Size(allowed);
    if (count < 0 || count > MOST_ALLOWED) {
        PyErr_SetString(PyExc_ValueError, "at most 64 allowed values");
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        d->allowed[i] = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(allowed, i), &d->allowed_lengths[i]);
        if (d->allowed[i] == NULL) return 0;
    }
    d->allowed_count = (int)count;
    return 1;
}

static PyObject *result(Decoder *d, Py_ssize_t used) {
    PyObject *columns = PyList_New(d->count);
    for (int i = 0; columns != NULL && i < d->count; i++) {
        Column *column = &d->columns[i];
        PyObject *one;
        if (is_text(column->kind))
            one = Py_BuildValue("(y#y#)", (char *)column->offsets, (Py_ssize_t)((d->rows + 1) * 4),
                                column->data ? (char *)column->data : "", column->size);
        else
            one = PyBytes_FromStringAndSize((char *)column->data, d->rows * 8);
        if (one == NULL) { Py_CLEAR(columns); break; }
        PyList_SET_ITEM(columns, i, one);
    }
    return columns == NULL ? NULL : Py_BuildValue("(nnN)", d->rows, used, columns);
}

static PyObject *decode(PyObject *self, PyObject *args) {
    Py_buffer body;
    Py_ssize_t start;
    PyObject *table, *allowed, *answer = NULL;
    Decoder d;
    (void)self;
    memset(&d, 0, sizeof d);
    if (!PyArg_ParseTuple(args, "y*nO!nO!", &body, &start, &PyTuple_Type, &table, &d.longest, &PyTuple_Type, &allowed))
        return NULL;
    if (read_table(&d, table) && read_allowed(&d, allowed)) {
        if (start < 0 || start > body.len) PyErr_SetString(PyExc_ValueError, "start is outside the body");
        else {
            d.at = (const uint8_t *)body.buf + start;
            d.end = (const uint8_t *)body.buf + body.len;
            if (grow_rows(&d) && take_events(&d)) answer = result(&d, d.at - (const uint8_t *)body.buf);
            else if (!PyErr_Occurred()) answer = Py_NewRef(Py_None);
        }
    }
    for (int i = 0; i < d.count; i++) {
        PyMem_Free(d.columns[i].data);
        PyMem_Free(d.columns[i].offsets);
    }
    PyBuffer_Release(&body);
    return answer;
}

static PyMethodDef METHODS[] = {
    {"decode", decode, METH_VARARGS,
     "decode(body, start, table, longest, allowed) -> (rows, end, columns), or None for what is left to Python.\n\n"
     "table: a tuple of (name, kind, is_nested, is_required); kinds: t time, s string,\n"
     "n name without a bar, e one of allowed, c count, a amount, i integer."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_columns", NULL, -1, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__columns(void) { return PyModule_Create(&MODULE); }
