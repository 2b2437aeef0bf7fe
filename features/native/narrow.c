/* Rows of events in few bytes: numbers as narrow as they allow, texts as numbers of their distinct values.
 *
 * narrow(array, rules) takes the capsule of a batch in the columns of events and gives the capsules of another, without
 * the columns of the key. What cannot be made smaller is used as it is. The same rows always give the same batch.
 */
#include "arrow.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    struct ArrowSchema top, columns[MOST_FIELDS], values[MOST_FIELDS], *children[MOST_FIELDS];
    char names[MOST_FIELDS][TOKEN_WORDS * 8];
} Schema;

static void release_part(struct ArrowSchema *schema) { schema->release = NULL; }

static void release_schema(struct ArrowSchema *schema) {
    free(schema->private_data);
    schema->release = NULL;
}

static void drop_schema(PyObject *capsule) {
    struct ArrowSchema *schema = PyCapsule_GetPointer(capsule, "arrow_schema");
    if (schema->release != NULL) schema->release(schema);
    free(schema);
}

static Schema *new_schema(const Rules *rules) {
    Schema *made = calloc(1, sizeof *made);
    if (made == NULL) return NULL;
    made->top = (struct ArrowSchema){.format = "+s", .name = "", .n_children = rules->count, .children = made->children,
                                     .release = release_schema, .private_data = made};
    for (int i = 0; i < rules->count; i++) {
        memcpy(made->names[i], rules->fields[i].name, (size_t)rules->fields[i].length);
        made->columns[i] = (struct ArrowSchema){.name = made->names[i], .release = release_part};
        made->children[i] = &made->columns[i];
    }
    return made;
}

/* How many bytes numbers of 0 to `most` need, and the letters of their types in Arrow. */
static int width_of(uint64_t most) { return most < 1u << 8 ? 1 : most < 1u << 16 ? 2 : most < UINT64_C(1) << 32 ? 4 : 8; }

static const char *format_of(int width) { return width == 1 ? "C" : width == 2 ? "S" : "I"; }

static void *narrowed(const int64_t *numbers, int64_t rows, int width) {
    void *made = malloc((size_t)(rows * width + 1));
    for (int64_t row = 0; made != NULL && row < rows; row++) {
        if (width == 1) ((uint8_t *)made)[row] = (uint8_t)numbers[row];
        else if (width == 2) ((uint16_t *)made)[row] = (uint16_t)numbers[row];
        else ((uint32_t *)made)[row] = (uint32_t)numbers[row];
    }
    return made;
}

static int take_numbers(Batch *batch, struct ArrowSchema *schema, int kind, const int64_t *numbers, int64_t rows) {
    uint64_t all = 0; /* of a negative number the highest bit is set */
    schema->format = kind == TIME ? "tsn:UTC" : kind == AMOUNT ? "g" : "l";
    for (int64_t row = 0; row < rows; row++) all |= (uint64_t)numbers[row];
    int width = width_of(all);
    if (kind == TIME || width == 8 || (kind == AMOUNT && all != 0)) {
        add_foreign(batch, numbers, NULL);
        return 1;
    }
    schema->format = format_of(width);
    return add_numbers(batch, narrowed(numbers, rows, width));
}

typedef struct {
    const int32_t *offsets;
    const uint8_t *bytes;
    int64_t rows;
    int32_t *first; /* the row where each distinct text was found first */
    int32_t count;
} Texts;

static uint64_t hash_of(const uint8_t *text, int32_t length) {
    uint64_t hash = (uint64_t)length * UINT64_C(0x9e3779b97f4a7c15), word;
    for (; length >= 8; text += 8, length -= 8) {
        memcpy(&word, text, 8);
        hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
        hash ^= hash >> 32;
    }
    for (word = 0; length > 0; text++, length--) word = word << 8 | *text;
    hash = (hash ^ word) * UINT64_C(0xff51afd7ed558ccd);
    return hash ^ hash >> 32;
}

static int is_text_of(const Texts *t, int64_t row, int32_t number) {
    int32_t first = t->first[number], length = t->offsets[row + 1] - t->offsets[row];
    return t->offsets[first + 1] - t->offsets[first] == length &&
           memcmp(t->bytes + t->offsets[first], t->bytes + t->offsets[row], (size_t)length) == 0;
}

/* Numbers the distinct texts in the order of their first rows; 0 without memory, or where most are distinct. */
static int number_texts(Texts *t, int64_t *numbers) {
    int64_t room = 256, most = t->rows / 2;
    while (room < t->rows) room *= 2; /* at most half of it is used */
    int32_t *places = malloc((size_t)room * sizeof *places);
    t->first = malloc((size_t)(most + 1) * sizeof *t->first);
    if (places != NULL) memset(places, 0xff, (size_t)room * sizeof *places);
    int good = places != NULL && t->first != NULL;
    for (int64_t row = 0; good && row < t->rows; row++) {
        if (row > 0 && is_text_of(t, row, (int32_t)numbers[row - 1])) { /* neighbours are often alike */
            numbers[row] = numbers[row - 1];
            continue;
        }
        uint64_t place = hash_of(t->bytes + t->offsets[row], t->offsets[row + 1] - t->offsets[row]);
        for (place &= (uint64_t)(room - 1);; place = (place + 1) & (uint64_t)(room - 1)) {
            if (places[place] < 0) {
                good = t->count < most;
                if (!good) break;
                t->first[t->count] = (int32_t)row;
                places[place] = t->count++;
            }
            if (is_text_of(t, row, places[place])) break;
        }
        if (good) numbers[row] = places[place];
    }
    free(places);
    return good;
}

static int add_distinct(Batch *batch, const Texts *t, const int64_t *numbers) {
    int64_t size = 0;
    for (int32_t i = 0; i < t->count; i++) size += t->offsets[t->first[i] + 1] - t->offsets[t->first[i]];
    int32_t *offsets = malloc((size_t)(t->count + 1) * sizeof *offsets), end = 0;
    uint8_t *bytes = malloc((size_t)size + 1);
    for (int32_t i = 0; offsets != NULL && bytes != NULL && i < t->count; i++) {
        int32_t length = t->offsets[t->first[i] + 1] - t->offsets[t->first[i]];
        memcpy(bytes + end, t->bytes + t->offsets[t->first[i]], (size_t)length);
        offsets[i] = end;
        end += length;
    }
    if (offsets != NULL) offsets[t->count] = end;
    void *indices = narrowed(numbers, t->rows, width_of((uint64_t)t->count - 1));
    return add_dictionary(batch, indices, t->count, offsets, bytes);
}

static int take_texts(Batch *batch, struct ArrowSchema *schema, struct ArrowSchema *values, const struct ArrowArray *array) {
    static const uint8_t NOTHING[1] = {0};
    Texts t = {.offsets = array->buffers[1], .bytes = array->buffers[2] ? array->buffers[2] : NOTHING, .rows = array->length};
    int64_t *numbers = malloc((size_t)t.rows * sizeof *numbers);
    int good = 1;
    if (numbers != NULL && number_texts(&t, numbers)) {
        *values = (struct ArrowSchema){.format = "u", .name = "", .release = release_part};
        schema->format = format_of(width_of((uint64_t)t.count - 1));
        schema->dictionary = values;
        good = add_distinct(batch, &t, numbers);
    } else {
        schema->format = "u";
        add_foreign(batch, t.offsets, t.bytes);
    }
    free(numbers);
    free(t.first);
    return good;
}

static int take_all(Batch *batch, Schema *schema, const Rules *rules, const struct ArrowArray *array) {
    for (int i = 0; i < rules->count; i++) {
        const struct ArrowArray *column = array->children[i];
        if (is_text(rules->fields[i].kind)) {
            if (!take_texts(batch, &schema->columns[i], &schema->values[i], column)) return 0;
        } else if (!take_numbers(batch, &schema->columns[i], rules->fields[i].kind, column->buffers[1], column->length))
            return 0;
    }
    return 1;
}

static int is_plain(const struct ArrowArray *array, const Rules *rules) {
    if (array->release == NULL || array->n_children < rules->count || array->offset != 0 || array->length == 0) return 0;
    for (int i = 0; i < rules->count; i++) {
        const struct ArrowArray *column = array->children[i];
        int buffers = is_text(rules->fields[i].kind) ? 3 : 2;
        if (column->offset != 0 || column->length != array->length || column->null_count != 0 ||
            column->n_buffers != buffers || column->buffers[1] == NULL || column->dictionary != NULL)
            return 0;
    }
    return 1;
}

PyObject *narrow(PyObject *self, PyObject *args) {
    PyObject *array_capsule, *given;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO", &array_capsule, &given)) return NULL;
    struct ArrowArray *array = PyCapsule_GetPointer(array_capsule, "arrow_array");
    const Rules *rules = PyCapsule_GetPointer(given, RULES);
    if (array == NULL || rules == NULL) return NULL;
    if (!is_plain(array, rules)) Py_RETURN_NONE;
    Batch *batch = new_batch(array->length, rules->count);
    Schema *schema = new_schema(rules);
    struct ArrowSchema *moved = malloc(sizeof *moved);
    int good = batch != NULL && schema != NULL && moved != NULL;
    if (good) {
        Py_BEGIN_ALLOW_THREADS
        good = take_all(batch, schema, rules, array);
        Py_END_ALLOW_THREADS
    }
    if (!good) {
        drop_batch(batch);
        free(schema);
        free(moved);
        return PyErr_NoMemory();
    }
    hold(batch, array);
    *moved = schema->top;
    PyObject *capsule = PyCapsule_New(moved, "arrow_schema", drop_schema);
    if (capsule == NULL) {
        drop_batch(batch);
        free(schema);
        free(moved);
        return NULL;
    }
    PyObject *exported = export_batch(batch);
    if (exported == NULL) {
        Py_DECREF(capsule);
        return NULL;
    }
    return Py_BuildValue("NN", capsule, exported);
}
