/* Arrow's C data interface, and record batches of events built on it.
 *
 * Buffers are from malloc: whoever drops the batch frees them, with or without Python's lock. A batch may go on using
 * the buffers of another one, which is then held until it is dropped.
 */
#ifndef METERCAST_ARROW_H
#define METERCAST_ARROW_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>

#define MOST_FIELDS 32
#define TOKEN_WORDS 4
#define MOST_ALLOWED 64
#define SLACK 16 /* bytes that may be written beyond a short text, so that it is copied in words */

struct ArrowSchema { /* the interface's own names */
    const char *format, *name, *metadata;
    int64_t flags, n_children;
    struct ArrowSchema **children, *dictionary;
    void (*release)(struct ArrowSchema *);
    void *private_data;
};

struct ArrowArray {
    int64_t length, null_count, offset, n_buffers, n_children;
    const void **buffers;
    struct ArrowArray **children, *dictionary;
    void (*release)(struct ArrowArray *);
    void *private_data;
};

/* Kinds of fields. NAME is a text without a bar, ENUM one of the allowed values. */
enum kind { TIME = 't', TEXT = 's', NAME = 'n', ENUM = 'e', COUNT = 'c', AMOUNT = 'a', INTEGER = 'i' };

static inline int is_text(int kind) { return kind == TEXT || kind == NAME || kind == ENUM; }

typedef struct {
    char name[TOKEN_WORDS * 8];
    Py_ssize_t length;
    uint64_t token[TOKEN_WORDS], mask[TOKEN_WORDS]; /* "name": as words */
    char kind;
    int nested; /* stands inside resourceUsage */
    int required;
} Field;

/* What is known of events: their fields, and what values may be. */
typedef struct {
    Field fields[MOST_FIELDS];
    int count;
    Py_ssize_t longest; /* bytes of a text */
    PyObject *kept;
    const char *allowed[MOST_ALLOWED]; /* the values of an ENUM */
    Py_ssize_t allowed_lengths[MOST_ALLOWED];
    int allowed_count;
} Rules;

/* The key of a batch, the same in each row, and the times between which its events must be. */
typedef struct {
    const char *producer;
    Py_ssize_t producer_length;
    int64_t epoch, sequence;
    double oldest_s, newest_s;
} Key;

typedef struct Batch Batch;

#define RULES "metercast_rules"

int read_key(PyObject *given, Key *key);
int is_allowed(const Rules *rules, const uint8_t *text, Py_ssize_t length, int *guess);

/* A batch of so many columns; NULL without memory. Each `add` takes what is from malloc over, also where it fails. */
Batch *new_batch(int64_t rows, int columns);
int add_numbers(Batch *batch, void *numbers);
int add_text(Batch *batch, int32_t *offsets, void *bytes);
int add_key(Batch *batch, const Key *key);
int add_dictionary(Batch *batch, void *indices, int64_t count, int32_t *offsets, void *bytes);
/* A column of somebody else's, who is held by `hold`. */
void add_foreign(Batch *batch, const void *first, const void *second);
void hold(Batch *batch, struct ArrowArray *held);
void drop_batch(Batch *batch);

/* (capsule, address) for pyarrow, which takes the batch from the address while the capsule lives; drops on failure. */
PyObject *export_batch(Batch *batch);

PyObject *make_rules(PyObject *self, PyObject *args);
PyObject *decode_json(PyObject *self, PyObject *args);
PyObject *check_rows(PyObject *self, PyObject *args);
PyObject *narrow(PyObject *self, PyObject *args);
#endif
