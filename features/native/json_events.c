/* Decodes a JSON array of events into columns, for bodies whose every event is plainly good.
 *
 * decode_json(body, start, rules, key) looks at body[start:], which must begin with an array of objects. It gives None
 * wherever anything is unusual (an escape, another type, a number that is not exact, a missing member): the caller then
 * decodes in Python, with reasons. It reads no byte outside the body: every step compares with the end.
 */
#include "arrow.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define USUAL_BYTES 240 /* of an event */
#define USUAL_TEXT_BYTES 16

typedef struct {
    uint8_t *data; /* numbers, or the bytes of texts */
    Py_ssize_t size, room;
    int32_t *offsets;
} Column;

typedef struct {
    const uint8_t *at, *end;
    const Rules *rules;
    Key key;
    Column columns[MOST_FIELDS];
    Py_ssize_t rows, room;
    int allowed_guess;
} Decoder;

static inline void skip_space(Decoder *d) {
    while (d->at < d->end && *d->at <= ' ' && (*d->at == ' ' || *d->at == '\n' || *d->at == '\t' || *d->at == '\r'))
        d->at++;
}

static inline int take(Decoder *d, uint8_t letter) {
    skip_space(d);
    if (d->at >= d->end || *d->at != letter) return 0;
    d->at++;
    return 1;
}

/* The quotes, backslashes and control characters among eight bytes, each marked by its byte's highest bit: the usual
 * trick on words, where that bit is set by a borrow when the byte was smaller than what was taken off it. The lowest
 * mark is always right; those above it may be of a borrow. */
static inline uint64_t special(const uint8_t *at) {
    const uint64_t ones = UINT64_C(0x0101010101010101), high = UINT64_C(0x8080808080808080);
    uint64_t word;
    memcpy(&word, at, 8);
    uint64_t quote = word ^ (ones * '"'), slash = word ^ (ones * '\\');
    return (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((word - ones * 0x20) & ~word)) & high;
}

/* A string without escapes, its quotes left out; 0 where there is none such. */
static inline int take_text(Decoder *d, const uint8_t **text, Py_ssize_t *length) {
    if (!take(d, '"')) return 0;
    const uint8_t *start = d->at, *at = start, *end = d->end;
    while (end - at >= 8) {
        uint64_t marks = special(at);
        if (marks) {
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
            at += __builtin_ctzll(marks) >> 3;
#endif
            break;
        }
        at += 8;
    }
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

static inline int is_digit(uint8_t letter) { return (unsigned)letter - '0' <= 9; }

typedef struct {
    const uint8_t *text;
    Py_ssize_t length;
    uint64_t digits; /* all of them, without point and sign; only where there are at most 18 */
    int count, fraction, negative, is_float;
} Number;

/* JSON's grammar of numbers without exponents, which are rare and left to Python. */
static inline int take_number(Decoder *d, Number *n) {
    skip_space(d);
    const uint8_t *at = d->at, *end = d->end;
    *n = (Number){.text = at};
    if (at < end && *at == '-') {
        n->negative = 1;
        at++;
    }
    if (at >= end || !is_digit(*at)) return 0;
    const uint8_t *first = at;
    uint64_t digits = 0;
    if (*at == '0') at++;
    else for (; at < end && is_digit(*at); at++) digits = digits * 10 + (uint64_t)(*at - '0');
    n->count = (int)(at - first);
    if (at < end && *at == '.') {
        const uint8_t *point = ++at;
        for (; at < end && is_digit(*at); at++) digits = digits * 10 + (uint64_t)(*at - '0');
        if (at == point) return 0;
        n->is_float = 1;
        n->fraction = (int)(at - point);
        n->count += n->fraction;
    }
    if (at < end && (*at == 'e' || *at == 'E')) return 0;
    n->digits = digits;
    n->length = at - d->at;
    d->at = at;
    return 1;
}

static int slow_double(const Number *n, double *value) {
    char copy[64];
    if (n->length >= (Py_ssize_t)sizeof copy) return 0;
    memcpy(copy, n->text, (size_t)n->length);
    copy[n->length] = 0;
    *value = PyOS_string_to_double(copy, NULL, NULL);
    if (*value == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return isfinite(*value);
}

/* The double nearest to digits / 10^fraction, half to even: a division with all its bits, as a time in epoch seconds with
 * seven decimals needs more than 53. */
static inline int divided(const Number *n, double *value) {
#ifdef __SIZEOF_INT128__
    static const uint64_t POWERS[] = {UINT64_C(1),
                                      UINT64_C(10),
                                      UINT64_C(100),
                                      UINT64_C(1000),
                                      UINT64_C(10000),
                                      UINT64_C(100000),
                                      UINT64_C(1000000),
                                      UINT64_C(10000000),
                                      UINT64_C(100000000),
                                      UINT64_C(1000000000)};
    if (n->digits == 0 || n->fraction > 9) return 0;
    uint64_t by = POWERS[n->fraction];
    int up = 63 - (64 - __builtin_clzll(n->digits)) + (64 - __builtin_clzll(by));
    unsigned __int128 shifted = (unsigned __int128)n->digits << up;
    uint64_t quotient = (uint64_t)(shifted / by); /* of 63 or 64 bits */
    int is_inexact = (unsigned __int128)quotient * by != shifted;
    int down = 64 - __builtin_clzll(quotient) - 53;
    uint64_t half = UINT64_C(1) << (down - 1), rest = quotient & (2 * half - 1), mantissa = quotient >> down;
    mantissa += rest > half || (rest == half && (is_inexact || (mantissa & 1)));
    *value = ldexp((double)mantissa, down - up);
    return 1;
#else
    (void)n, (void)value;
    return 0;
#endif
}

/* Exact at once where all digits fit into 53 bits and the power of ten is at most 22 (Clinger 1990). */
static inline int as_double(const Number *n, double *value) {
    static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                    1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
    if (n->count > 18) return slow_double(n, value);
    if (n->digits <= (UINT64_C(1) << 53))
        *value = n->fraction ? (double)n->digits / POWERS[n->fraction] : (double)n->digits;
    else if (!divided(n, value)) return slow_double(n, value);
    if (n->negative) *value = -*value;
    return 1;
}

static int grow(Column *column, Py_ssize_t more) {
    if (column->size + more + SLACK <= column->room) return 1;
    Py_ssize_t room = 2 * column->room + more + SLACK;
    if (room > INT32_MAX) return 0;
    uint8_t *data = realloc(column->data, (size_t)room);
    if (data == NULL) return 0;
    column->data = data;
    column->room = room;
    return 1;
}

static int grow_rows(Decoder *d) {
    if (d->rows < d->room) return 1;
    /* At first as many as there are events of the usual length: growing columns costs more than filling them. */
    Py_ssize_t room = d->room ? 2 * d->room : (d->end - d->at) / USUAL_BYTES + 16;
    for (int i = 0; i < d->rules->count; i++) {
        Column *column = &d->columns[i];
        if (is_text(d->rules->fields[i].kind)) {
            int32_t *offsets = realloc(column->offsets, (size_t)(room + 1) * sizeof *offsets);
            if (offsets == NULL) return 0;
            offsets[0] = 0;
            column->offsets = offsets;
            if (!grow(column, room * USUAL_TEXT_BYTES)) return 0;
        } else if (!grow(column, room * 8)) return 0; /* `size` of a column of numbers stays 0 */
    }
    d->room = room;
    return 1;
}

static inline int take_text_value(Decoder *d, const Field *field, Column *column) {
    const uint8_t *text;
    Py_ssize_t length;
    if (!take_text(d, &text, &length) || length > d->rules->longest || (field->required && length == 0)) return 0;
    if (field->kind == NAME && memchr(text, '|', (size_t)length) != NULL) return 0;
    if (field->kind == ENUM && !is_allowed(d->rules, text, length, &d->allowed_guess)) return 0;
    if (!grow(column, length)) return 0;
    uint8_t *to = column->data + column->size;
    if (length <= SLACK && d->end - text >= SLACK) memcpy(to, text, SLACK);
    else memcpy(to, text, (size_t)length);
    column->size += length;
    return 1;
}

static inline int take_value(Decoder *d, const Field *field, Column *column) {
    Number n;
    double value;
    int64_t whole;
    if (is_text(field->kind)) return take_text_value(d, field, column);
    if (!take_number(d, &n)) return 0;
    uint8_t *to = column->data + d->rows * 8;
    if (field->kind == COUNT || field->kind == INTEGER) {
        if (n.is_float || n.count > 18 || (field->kind == COUNT && n.negative && n.digits)) return 0;
        whole = n.negative ? -(int64_t)n.digits : (int64_t)n.digits;
        memcpy(to, &whole, 8);
        return 1;
    }
    if (!as_double(&n, &value)) return 0;
    if (field->kind == TIME) { /* seconds; of today's, a float is exact to the microsecond */
        if (!(value >= d->key.oldest_s && value <= d->key.newest_s)) return 0;
        whole = (int64_t)rint(value * 1e6) * 1000;
        memcpy(to, &whole, 8);
        return 1;
    }
    if (value < 0) return 0;
    if (value == 0) value = 0; /* not the negative zero */
    memcpy(to, &value, 8);
    return 1;
}

static int find(const Decoder *d, const uint8_t *name, Py_ssize_t length, int nested, int guess) {
    for (int i = 0; i < d->rules->count; i++) { /* members mostly come in the same order */
        int place = (guess + i) % d->rules->count;
        const Field *field = &d->rules->fields[place];
        if (field->nested == nested && field->length == length && memcmp(field->name, name, (size_t)length) == 0)
            return place;
    }
    return -1;
}

/* Whether the member that is guessed stands here, colon and all; then it is passed by. Half of a body is names. */
static inline int expected(Decoder *d, int nested, int guess) {
    const Field *field = &d->rules->fields[guess];
    uint64_t words[TOKEN_WORDS], odd = 0;
    skip_space(d);
    if (field->nested != nested || d->end - d->at < (Py_ssize_t)sizeof words) return 0;
    memcpy(words, d->at, sizeof words);
    for (int i = 0; i < TOKEN_WORDS; i++) odd |= (words[i] ^ field->token[i]) & field->mask[i];
    if (odd) return 0;
    d->at += field->length + 3;
    return 1;
}

/* The members of one object; what was seen is noted in `seen`. Unknown members are left to Python. */
static int take_object(Decoder *d, int nested, uint32_t *seen, int *guess) {
    if (!take(d, '{')) return 0;
    if (take(d, '}')) return 1;
    do {
        const uint8_t *name;
        Py_ssize_t length;
        int place = *guess;
        if (!expected(d, nested, place)) {
            if (!take_text(d, &name, &length) || !take(d, ':')) return 0;
            if (!nested && length == 13 && memcmp(name, "resourceUsage", 13) == 0) {
                if (*seen & (UINT32_C(1) << 31)) return 0;
                *seen |= UINT32_C(1) << 31;
                if (!take_object(d, 1, seen, guess)) return 0;
                continue;
            }
            place = find(d, name, length, nested, place);
        }
        if (place < 0 || (*seen & (UINT32_C(1) << place))) return 0; /* a member given twice too */
        *seen |= UINT32_C(1) << place;
        if (!take_value(d, &d->rules->fields[place], &d->columns[place])) return 0;
        *guess = place + 1 < d->rules->count ? place + 1 : 0;
    } while (take(d, ','));
    return take(d, '}');
}

static int take_event(Decoder *d) {
    uint32_t seen = 0;
    int guess = 0;
    if (!grow_rows(d) || !take_object(d, 0, &seen, &guess)) return 0;
    for (int i = 0; i < d->rules->count; i++) {
        const Field *field = &d->rules->fields[i];
        Column *column = &d->columns[i];
        int there = (seen >> i) & 1;
        if (!there && field->required) return 0;
        if (is_text(field->kind)) column->offsets[d->rows + 1] = (int32_t)column->size;
        else if (!there) memset(column->data + d->rows * 8, 0, 8);
    }
    d->rows++;
    return 1;
}

static int take_events(Decoder *d) {
    if (!grow_rows(d) || !take(d, '[')) return 0;
    if (take(d, ']')) return 1;
    do {
        if (!take_event(d)) return 0;
    } while (take(d, ','));
    return take(d, ']');
}

/* The columns as a batch, which owns them from here on. */
static PyObject *exported(Decoder *d) {
    Batch *batch = new_batch(d->rows, d->rules->count + 3);
    if (batch == NULL) return PyErr_NoMemory();
    for (int i = 0; i < d->rules->count; i++) {
        Column *column = &d->columns[i];
        if (is_text(d->rules->fields[i].kind)) add_text(batch, column->offsets, column->data);
        else add_numbers(batch, column->data);
        column->offsets = NULL;
        column->data = NULL;
    }
    if (!add_key(batch, &d->key)) {
        drop_batch(batch);
        return PyErr_NoMemory();
    }
    return export_batch(batch);
}

PyObject *decode_json(PyObject *self, PyObject *args) {
    Py_buffer body;
    Py_ssize_t start;
    PyObject *rules, *key, *answer = NULL;
    Decoder d;
    (void)self;
    memset(&d, 0, sizeof d);
    if (!PyArg_ParseTuple(args, "y*nOO!", &body, &start, &rules, &PyTuple_Type, &key)) return NULL;
    d.rules = PyCapsule_GetPointer(rules, RULES);
    if (d.rules != NULL && read_key(key, &d.key)) {
        if (start < 0 || start > body.len) PyErr_SetString(PyExc_ValueError, "start is outside the body");
        else {
            d.at = (const uint8_t *)body.buf + start;
            d.end = (const uint8_t *)body.buf + body.len;
            if (!take_events(&d)) answer = Py_NewRef(Py_None);
            else {
                PyObject *made = exported(&d);
                if (made != NULL) answer = Py_BuildValue("nN", d.at - (const uint8_t *)body.buf, made);
            }
        }
    }
    for (int i = 0; d.rules != NULL && i < d.rules->count; i++) {
        free(d.columns[i].data);
        free(d.columns[i].offsets);
    }
    PyBuffer_Release(&body);
    return answer;
}
