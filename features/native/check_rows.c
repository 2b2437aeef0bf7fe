/* Checks a record batch from strangers and gives its rows in the columns of events, without a copy where that can be.
 *
 * check_rows(schema, array, rules, key, most_bytes) takes the two capsules of Arrow's C data interface. It gives None
 * wherever a value or a type is not plainly good: the caller then looks in Python, with reasons. What it relies on is
 * what pyarrow's `RecordBatch.validate` (without `full`) has checked: that buffers are as long as the number of rows
 * asks for, and that the first and the last offset of texts lie within their bytes.
 */
#include "arrow.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const Rules *rules;
    int64_t oldest_ns, newest_ns, rows;
    int64_t bytes_left; /* so many bytes may texts take that are written out from a dictionary */
    int guesses[64];
    Batch *batch;
} Check;

typedef struct {
    const int32_t *offsets;
    const uint8_t *bytes;
    int64_t count;
} Texts;

/* Unicode 15, table 3-7: well-formed UTF-8. */
static int is_utf8(const uint8_t *at, const uint8_t *end) {
    while (at < end) {
        uint8_t lead = *at++;
        if (lead < 0x80) continue;
        int more = lead >= 0xc2 && lead <= 0xdf ? 1 : (lead & 0xf0) == 0xe0 ? 2 : lead >= 0xf0 && lead <= 0xf4 ? 3 : 0;
        if (more == 0 || end - at < more) return 0;
        uint8_t low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
        uint8_t high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
        if (at[0] < low || at[0] > high) return 0;
        for (int i = 1; i < more; i++)
            if ((at[i] & 0xc0) != 0x80) return 0;
        at += more;
    }
    return 1;
}

static int is_ascii(const uint8_t *bytes, int64_t size) {
    uint8_t all = 0;
    for (int64_t i = 0; i < size; i++) all |= bytes[i];
    return all < 0x80;
}

/* Offsets that rise, texts that are not too long, not empty where that matters, in UTF-8, without NUL and bars. */
static int texts_are_good(const Check *c, const Field *field, const Texts *texts) {
    int32_t least = field->required ? 1 : 0, most = (int32_t)c->rules->longest, odd = 0;
    for (int64_t i = 0; i < texts->count; i++) {
        int64_t size = (int64_t)texts->offsets[i + 1] - texts->offsets[i];
        odd |= size < least || size > most;
    }
    if (odd || texts->offsets[0] < 0) return 0;
    const uint8_t *first = texts->bytes + texts->offsets[0];
    int64_t size = (int64_t)texts->offsets[texts->count] - texts->offsets[0];
    if (memchr(first, 0, (size_t)size) || (field->kind == NAME && memchr(first, '|', (size_t)size))) return 0;
    if (is_ascii(first, size)) return 1;
    for (int64_t i = 0; i < texts->count; i++)
        if (!is_utf8(texts->bytes + texts->offsets[i], texts->bytes + texts->offsets[i + 1])) return 0;
    return 1;
}

static int are_allowed(Check *c, const Texts *texts) {
    for (int64_t i = 0; i < texts->count; i++) {
        const uint8_t *text = texts->bytes + texts->offsets[i];
        int64_t length = (int64_t)texts->offsets[i + 1] - texts->offsets[i];
        int *guess = &c->guesses[(text[0] ^ (text[length - 1] << 2) ^ length) & 63];
        if (!is_allowed(c->rules, text, (Py_ssize_t)length, guess)) return 0;
    }
    return 1;
}

static int read_texts(Check *c, const Field *field, const struct ArrowSchema *schema, const struct ArrowArray *array,
                      Texts *texts) {
    static const uint8_t NOTHING[1] = {0};
    if (strcmp(schema->format, "u") != 0 || array->offset != 0 || array->null_count != 0 || array->length == 0) return 0;
    if (array->n_buffers != 3 || array->buffers[1] == NULL) return 0;
    *texts = (Texts){array->buffers[1], array->buffers[2] ? array->buffers[2] : NOTHING, array->length};
    return texts_are_good(c, field, texts) && (field->kind != ENUM || are_allowed(c, texts));
}

/* The numbers of a dictionary's values, row by row; 0 where one lies outside of it. */
static int read_indices(const char *format, const void *given, int64_t rows, int64_t count, int32_t *indices) {
    int odd = 0;
#define READ(letter, type)                                                  \
    case letter:                                                            \
        for (int64_t row = 0; row < rows; row++) {                          \
            int64_t index = (int64_t)((const type *)given)[row];            \
            odd |= index < 0 || index >= count;                             \
            indices[row] = (int32_t)index;                                  \
        }                                                                   \
        return !odd;
    switch (format[1] == 0 ? format[0] : 0) {
        READ('c', int8_t)
        READ('C', uint8_t)
        READ('s', int16_t)
        READ('S', uint16_t)
        READ('i', int32_t)
        READ('I', uint32_t)
        default: return 0;
    }
#undef READ
}

/* Texts written out, row by row, as all readers of the log expect them. */
static int write_out(Check *c, const Texts *texts, const int32_t *indices) {
    int64_t size = 0;
    for (int64_t row = 0; row < c->rows; row++) size += texts->offsets[indices[row] + 1] - texts->offsets[indices[row]];
    c->bytes_left -= size;
    if (c->bytes_left < 0 || size > INT32_MAX) return 0;
    int32_t *offsets = malloc((size_t)(c->rows + 1) * sizeof *offsets), end = 0;
    int32_t last = texts->offsets[texts->count] - SLACK;
    uint8_t *bytes = malloc((size_t)size + SLACK);
    for (int64_t row = 0; offsets != NULL && bytes != NULL && row < c->rows; row++) {
        int32_t first = texts->offsets[indices[row]], length = texts->offsets[indices[row] + 1] - first;
        if (length <= SLACK && first <= last) memcpy(bytes + end, texts->bytes + first, SLACK);
        else memcpy(bytes + end, texts->bytes + first, (size_t)length);
        offsets[row] = end;
        end += length;
    }
    if (offsets != NULL) offsets[c->rows] = end;
    return add_text(c->batch, offsets, bytes);
}

static int take_dictionary(Check *c, const Field *field, const struct ArrowSchema *schema,
                           const struct ArrowArray *array) {
    Texts texts;
    if (array->n_buffers != 2 || array->buffers[1] == NULL || array->dictionary == NULL) return 0;
    if (!read_texts(c, field, schema->dictionary, array->dictionary, &texts)) return 0;
    int32_t *indices = malloc((size_t)c->rows * sizeof *indices);
    int good = indices != NULL && read_indices(schema->format, array->buffers[1], c->rows, texts.count, indices) &&
               write_out(c, &texts, indices);
    free(indices);
    return good;
}

static int numbers_are_good(const Check *c, int kind, const void *given) {
    const int64_t *whole = given;
    const double *amounts = given;
    int odd = 0;
    int64_t low = kind == TIME ? c->oldest_ns : kind == COUNT ? 0 : -INT64_MAX;
    int64_t high = kind == TIME ? c->newest_ns : INT64_MAX;
    for (int64_t row = 0; row < c->rows; row++)
        odd |= kind == AMOUNT ? !(amounts[row] >= 0 && amounts[row] <= DBL_MAX) : whole[row] < low || whole[row] > high;
    return !odd;
}

/* Numbers of another width, in 64 bits. */
static int64_t *widened(const char *format, const void *given, int64_t rows) {
    int64_t *numbers = malloc((size_t)rows * sizeof *numbers);
#define WIDEN(letter, type) \
    case letter:            \
        for (int64_t row = 0; numbers != NULL && row < rows; row++) numbers[row] = ((const type *)given)[row]; \
        break;
    switch (format[1] == 0 ? format[0] : 0) {
        WIDEN('c', int8_t)
        WIDEN('C', uint8_t)
        WIDEN('s', int16_t)
        WIDEN('S', uint16_t)
        WIDEN('i', int32_t)
        WIDEN('I', uint32_t)
        default:
            free(numbers);
            return NULL;
    }
#undef WIDEN
    return numbers;
}

static int take_numbers(Check *c, const Field *field, const struct ArrowSchema *schema, const struct ArrowArray *array) {
    const char *format = schema->format;
    int is_amount = field->kind == AMOUNT;
    if (array->n_buffers != 2 || array->buffers[1] == NULL) return 0;
    if (is_amount && strcmp(format, "C") == 0) { /* how an amount that is zero in each row is kept */
        const uint8_t *small = array->buffers[1];
        for (int64_t row = 0; row < c->rows; row++)
            if (small[row] != 0) return 0;
        return add_numbers(c->batch, calloc((size_t)c->rows, 8));
    }
    if (strcmp(format, is_amount ? "g" : "l") == 0 || (field->kind == TIME && strncmp(format, "tsn:", 4) == 0)) {
        add_foreign(c->batch, array->buffers[1], NULL);
        return numbers_are_good(c, field->kind, array->buffers[1]);
    }
    int64_t *numbers = is_amount ? NULL : widened(format, array->buffers[1], c->rows);
    return add_numbers(c->batch, numbers) && numbers_are_good(c, field->kind, numbers);
}

static int take_column(Check *c, const Field *field, const struct ArrowSchema *schema, const struct ArrowArray *array) {
    Texts texts;
    if (schema == NULL) { /* left out: zeros and empty texts */
        if (field->required) return 0;
        if (!is_text(field->kind)) return add_numbers(c->batch, calloc((size_t)c->rows, 8));
        return add_text(c->batch, calloc((size_t)c->rows + 1, sizeof(int32_t)), calloc(1, 1));
    }
    if (array->length != c->rows || array->offset != 0 || array->null_count != 0) return 0;
    if (!is_text(field->kind)) return schema->dictionary == NULL && take_numbers(c, field, schema, array);
    if (schema->dictionary != NULL) return take_dictionary(c, field, schema, array);
    if (!read_texts(c, field, schema, array, &texts)) return 0;
    add_foreign(c->batch, texts.offsets, texts.bytes);
    return 1;
}

/* Which child is which field; 0 where one is there twice, or is none and none of the key's. */
static int find_columns(const Rules *rules, const struct ArrowSchema *schema, int64_t *places) {
    for (int i = 0; i < rules->count; i++) places[i] = -1;
    for (int64_t child = 0; child < schema->n_children; child++) {
        const char *name = schema->children[child]->name;
        int place = 0;
        if (name == NULL) return 0;
        if (!strcmp(name, "producer") || !strcmp(name, "epoch") || !strcmp(name, "sequence")) continue;
        while (place < rules->count && strcmp(rules->fields[place].name, name) != 0) place++;
        if (place == rules->count || places[place] >= 0) return 0;
        places[place] = child;
    }
    return 1;
}

static int take_all(Check *c, const struct ArrowSchema *schema, const struct ArrowArray *array, const Key *key) {
    int64_t places[MOST_FIELDS];
    if (array->offset != 0 || array->length == 0 || !find_columns(c->rules, schema, places)) return 0;
    for (int i = 0; i < c->rules->count; i++) {
        int64_t place = places[i];
        if (!take_column(c, &c->rules->fields[i], place < 0 ? NULL : schema->children[place],
                         place < 0 ? NULL : array->children[place]))
            return 0;
    }
    return add_key(c->batch, key);
}

PyObject *check_rows(PyObject *self, PyObject *args) {
    PyObject *schema_capsule, *array_capsule, *rules, *given_key;
    long long most_bytes;
    Key key;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOO!L", &schema_capsule, &array_capsule, &rules, &PyTuple_Type, &given_key,
                          &most_bytes))
        return NULL;
    const struct ArrowSchema *schema = PyCapsule_GetPointer(schema_capsule, "arrow_schema");
    struct ArrowArray *array = PyCapsule_GetPointer(array_capsule, "arrow_array");
    Check c = {.rules = PyCapsule_GetPointer(rules, RULES), .bytes_left = most_bytes};
    if (schema == NULL || array == NULL || c.rules == NULL || !read_key(given_key, &key)) return NULL;
    if (schema->release == NULL || array->release == NULL || schema->n_children != array->n_children) {
        PyErr_SetString(PyExc_ValueError, "a record batch that was not used before is needed");
        return NULL;
    }
    c.rows = array->length;
    c.oldest_ns = (int64_t)(key.oldest_s * 1e9);
    c.newest_ns = (int64_t)(key.newest_s * 1e9);
    c.batch = new_batch(c.rows, c.rules->count + 3);
    if (c.batch == NULL) return PyErr_NoMemory();
    int is_good;
    Py_BEGIN_ALLOW_THREADS
    is_good = take_all(&c, schema, array, &key);
    Py_END_ALLOW_THREADS
    if (!is_good) {
        drop_batch(c.batch);
        Py_RETURN_NONE;
    }
    hold(c.batch, array);
    return export_batch(c.batch);
}
