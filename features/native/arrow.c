/* Record batches of events in memory that whoever drops them frees. */
#include "arrow.h"

#include <stdlib.h>
#include <string.h>

struct Batch {
    struct ArrowArray top, held, columns[MOST_FIELDS], *children[MOST_FIELDS];
    const void *top_buffer[1], *buffers[MOST_FIELDS][3];
    struct ArrowArray values[MOST_FIELDS];
    const void *value_buffers[MOST_FIELDS][3];
    void *owned[3 * MOST_FIELDS];
    int owned_count, columns_count;
};

static void release_column(struct ArrowArray *array) { array->release = NULL; }

static void release_batch(struct ArrowArray *array) {
    drop_batch(array->private_data);
    array->release = NULL;
}

Batch *new_batch(int64_t rows, int columns) {
    Batch *batch = columns <= MOST_FIELDS ? calloc(1, sizeof *batch) : NULL;
    if (batch == NULL) return NULL;
    batch->top = (struct ArrowArray){.length = rows, .n_buffers = 1, .n_children = columns, .buffers = batch->top_buffer,
                                     .children = batch->children, .release = release_batch, .private_data = batch};
    return batch;
}

void drop_batch(Batch *batch) {
    if (batch == NULL) return;
    for (int i = 0; i < batch->owned_count; i++) free(batch->owned[i]);
    if (batch->held.release != NULL) batch->held.release(&batch->held);
    free(batch);
}

void add_foreign(Batch *batch, const void *first, const void *second) {
    int place = batch->columns_count++;
    batch->buffers[place][1] = first;
    batch->buffers[place][2] = second;
    batch->columns[place] = (struct ArrowArray){.length = batch->top.length, .n_buffers = second == NULL ? 2 : 3,
                                                .buffers = batch->buffers[place], .release = release_column};
    batch->children[place] = &batch->columns[place];
}

int add_numbers(Batch *batch, void *numbers) {
    if (numbers == NULL) return 0;
    batch->owned[batch->owned_count++] = numbers;
    add_foreign(batch, numbers, NULL);
    return 1;
}

int add_text(Batch *batch, int32_t *offsets, void *bytes) {
    if (offsets != NULL) batch->owned[batch->owned_count++] = offsets;
    if (bytes != NULL) batch->owned[batch->owned_count++] = bytes;
    if (offsets == NULL || bytes == NULL) return 0;
    add_foreign(batch, offsets, bytes);
    return 1;
}

int add_dictionary(Batch *batch, void *indices, int64_t count, int32_t *offsets, void *bytes) {
    int place = batch->columns_count;
    if (offsets != NULL) batch->owned[batch->owned_count++] = offsets;
    if (bytes != NULL) batch->owned[batch->owned_count++] = bytes;
    if (!add_numbers(batch, indices) || offsets == NULL || bytes == NULL) return 0;
    batch->value_buffers[place][1] = offsets;
    batch->value_buffers[place][2] = bytes;
    batch->values[place] = (struct ArrowArray){.length = count, .n_buffers = 3, .buffers = batch->value_buffers[place],
                                               .release = release_column};
    batch->columns[place].dictionary = &batch->values[place];
    return 1;
}

static int64_t *repeated(int64_t value, int64_t rows) {
    int64_t *numbers = malloc((size_t)(rows ? rows : 1) * sizeof *numbers);
    for (int64_t row = 0; numbers != NULL && row < rows; row++) numbers[row] = value;
    return numbers;
}

int add_key(Batch *batch, const Key *key) {
    int64_t rows = batch->top.length;
    if (rows * key->producer_length > INT32_MAX) return 0;
    int32_t *offsets = malloc((size_t)(rows + 1) * sizeof *offsets);
    char *bytes = malloc((size_t)(rows * key->producer_length + 1));
    for (int64_t row = 0; offsets != NULL && row <= rows; row++) offsets[row] = (int32_t)(row * key->producer_length);
    for (int64_t row = 0; bytes != NULL && row < rows; row++)
        memcpy(bytes + row * key->producer_length, key->producer, (size_t)key->producer_length);
    return add_text(batch, offsets, bytes) && add_numbers(batch, repeated(key->epoch, rows)) &&
           add_numbers(batch, repeated(key->sequence, rows));
}

void hold(Batch *batch, struct ArrowArray *held) {
    batch->held = *held;
    held->release = NULL;
}

static void drop_capsule(PyObject *capsule) {
    struct ArrowArray *array = PyCapsule_GetPointer(capsule, "arrow_array");
    if (array->release != NULL) array->release(array);
    free(array);
}

PyObject *export_batch(Batch *batch) {
    struct ArrowArray *array = malloc(sizeof *array);
    if (array == NULL) {
        drop_batch(batch);
        return PyErr_NoMemory();
    }
    *array = batch->top;
    PyObject *capsule = PyCapsule_New(array, "arrow_array", drop_capsule);
    if (capsule == NULL) {
        free(array);
        drop_batch(batch);
        return NULL;
    }
    return Py_BuildValue("NK", capsule, (unsigned long long)(uintptr_t)array);
}

/* "name": as words, so that a member is recognised at once. */
static void write_token(Field *field) {
    char token[TOKEN_WORDS * 8] = "\"", mask[TOKEN_WORDS * 8] = {0};
    memcpy(token + 1, field->name, (size_t)field->length);
    memcpy(token + 1 + field->length, "\":", 2);
    memset(mask, 0xff, (size_t)field->length + 3);
    memcpy(field->token, token, sizeof token);
    memcpy(field->mask, mask, sizeof mask);
}

static int read_table(PyObject *table, Rules *rules) {
    Py_ssize_t count = PyTuple_Size(table);
    if (count < 0 || count >= MOST_FIELDS - 3) {
        PyErr_SetString(PyExc_ValueError, "a table of 1 to 28 fields");
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        const char *name;
        int kind;
        Field *field = &rules->fields[i];
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(table, i), "s#Cpp", &name, &field->length, &kind, &field->nested,
                              &field->required))
            return 0;
        if (field->length > TOKEN_WORDS * 8 - 3) {
            PyErr_SetString(PyExc_ValueError, "a field's name is too long");
            return 0;
        }
        memcpy(field->name, name, (size_t)field->length);
        field->kind = (char)kind;
        write_token(field);
    }
    rules->count = (int)count;
    return 1;
}

static int read_allowed(PyObject *allowed, Rules *rules) {
    Py_ssize_t count = PyTuple_Size(allowed);
    if (count < 0 || count > MOST_ALLOWED) {
        PyErr_SetString(PyExc_ValueError, "at most 64 allowed values");
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        rules->allowed[i] = PyUnicode_AsUTF8AndSize(PyTuple_GET_ITEM(allowed, i), &rules->allowed_lengths[i]);
        if (rules->allowed[i] == NULL) return 0;
    }
    rules->allowed_count = (int)count;
    return 1;
}

static void drop_rules(PyObject *capsule) {
    Rules *rules = PyCapsule_GetPointer(capsule, RULES);
    Py_XDECREF(rules->kept);
    free(rules);
}

PyObject *make_rules(PyObject *self, PyObject *args) {
    PyObject *table, *allowed;
    Rules *rules = calloc(1, sizeof *rules);
    (void)self;
    if (rules == NULL) return PyErr_NoMemory();
    if (!PyArg_ParseTuple(args, "O!nO!", &PyTuple_Type, &table, &rules->longest, &PyTuple_Type, &allowed) ||
        !read_table(table, rules) || !read_allowed(allowed, rules)) {
        free(rules);
        return NULL;
    }
    rules->kept = Py_NewRef(allowed); /* whose texts are pointed at */
    PyObject *capsule = PyCapsule_New(rules, RULES, drop_rules);
    if (capsule == NULL) {
        Py_DECREF(allowed);
        free(rules);
    }
    return capsule;
}

int read_key(PyObject *given, Key *key) {
    long long epoch, sequence;
    if (!PyArg_ParseTuple(given, "s#LLdd", &key->producer, &key->producer_length, &epoch, &sequence, &key->oldest_s,
                          &key->newest_s))
        return 0;
    key->epoch = epoch;
    key->sequence = sequence;
    return 1;
}

/* Whether a text is one of the allowed values; `guess` is where it was found last, as neighbours are mostly alike. */
int is_allowed(const Rules *rules, const uint8_t *text, Py_ssize_t length, int *guess) {
    for (int i = 0; i < rules->allowed_count; i++) {
        int place = *guess + i < rules->allowed_count ? *guess + i : *guess + i - rules->allowed_count;
        if (rules->allowed_lengths[place] == length && memcmp(rules->allowed[place], text, (size_t)length) == 0) {
            *guess = place;
            return 1;
        }
    }
    return 0;
}
