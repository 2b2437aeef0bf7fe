/* Takes records off the rings: they are copied and added up without the GIL, and become Python objects with it. */
#include "rows.h"
#include "structmember.h"

#define ENOUGH 512     /* records that are worth letting go of the GIL for */
#define LOOK_BACK 24

/* Reading ---------------------------------------------------------------------------------------------------------- */

static void begin_reading(Recording *recording) {
    if (pthread_mutex_trylock(&recording->reading) == 0) return;
    Py_BEGIN_ALLOW_THREADS /* who has it may be waiting for the GIL */
    pthread_mutex_lock(&recording->reading);
    Py_END_ALLOW_THREADS
}

static void end_reading(Recording *recording) {
    pthread_mutex_unlock(&recording->reading);
    forget_many_names(recording);
}

/* Add a record to an earlier one of the same run, type and meter among the last few; 0: there is none. */
static int fold(Record *records, Py_ssize_t count, const Record *record) {
    for (Py_ssize_t i = count - 1; i >= 0 && i >= count - LOOK_BACK; i--) {
        Record *known = &records[i];
        if (known->execution != record->execution || known->code != record->code || known->meter != record->meter ||
            known->operation != record->operation || known->user != record->user)
            continue;
        known->ended_ns = record->ended_ns;
        known->cpu_ns += record->cpu_ns;
        known->memory += record->memory;
        known->network += record->network;
        known->disk += record->disk;
        known->duration_ns += record->duration_ns;
        known->units += record->units;
        return 1;
    }
    return 0;
}

/* Copy the oldest records of each ring; how many. `kept`: how many they have become. Touches no Python object. */
static Py_ssize_t copy_records(Recording *recording, Record *to, Py_ssize_t limit, int folds, Py_ssize_t *kept) {
    Py_ssize_t size = 0, count = 0;
    for (Ring *ring = recording->rings; ring; ring = ring->next) {
        uint64_t tail = atomic_load_explicit(&ring->positions->tail, memory_order_acquire), left = tail - ring->taken;
        ring->copied = left < (uint64_t)(limit - size) ? left : (uint64_t)(limit - size);
        for (uint64_t i = 0; i < ring->copied; i++) {
            uint64_t place = ring->taken + i - ring->positions->base;
            const Record *record = &ring->records[place < ring->capacity ? place : place % ring->capacity];
            if (!folds || !fold(to, count, record)) to[count++] = *record;
        }
        size += (Py_ssize_t)ring->copied;
    }
    *kept = count;
    return size;
}

/* What was copied is taken; it makes room at once, or in a file when a batch holds it. */
static void take_copied(Recording *recording) {
    for (Ring *ring = recording->rings; ring; ring = ring->next) {
        ring->taken += ring->copied;
        ring->copied = 0;
        if (ring->mapped == 0) atomic_store_explicit(&ring->positions->head, ring->taken, memory_order_release);
    }
}

/* The records taken next, to be freed; NULL: an error is set. */
static Record *copied(Recording *recording, Py_ssize_t limit, int folds, Py_ssize_t *size, Py_ssize_t *count) {
    Py_ssize_t waiting = recording_waiting(recording);
    if (waiting > limit) waiting = limit;
    Record *records = malloc(sizeof(Record) * (size_t)(waiting > 0 ? waiting : 1));
    if (records == NULL) return (Record *)PyErr_NoMemory();
    PyThreadState *state = waiting >= ENOUGH ? PyEval_SaveThread() : NULL;
    *size = copy_records(recording, records, waiting, folds, count);
    if (state) PyEval_RestoreThread(state);
    return records;
}

/* Tuples of the contract --------------------------------------------------------------------------------------------- */

/* What a record tells of the execution it belongs to. */
typedef struct {
    PyObject_HEAD
    PyObject *operation, *user;
    long long id, parent_id;
} Origin;

static void origin_dealloc(Origin *self) {
    Py_XDECREF(self->operation);
    Py_XDECREF(self->user);
    PyObject_Free(self);
}

static PyMemberDef origin_members[] = {
    {"operation", T_OBJECT, offsetof(Origin, operation), READONLY, NULL},
    {"user", T_OBJECT, offsetof(Origin, user), READONLY, NULL},
    {"id", T_LONGLONG, offsetof(Origin, id), READONLY, NULL},
    {"parent_id", T_LONGLONG, offsetof(Origin, parent_id), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject OriginType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "metercast._engine.Origin",
    .tp_doc = "The execution that a record belongs to.",
    .tp_basicsize = sizeof(Origin),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)origin_dealloc,
    .tp_members = origin_members,
};

int recording_types_ready(void) { return PyType_Ready(&OriginType); }

static Origin *origin_of(Names *names, const Record *record, Origin *last) {
    PyObject *operation = names->texts[record->operation], *user = names->texts[record->user];
    if (last && last->id == record->execution && last->operation == operation && last->user == user)
        return (Origin *)Py_NewRef(last);
    Origin *origin = PyObject_New(Origin, &OriginType);
    if (origin == NULL) return NULL;
    origin->operation = Py_NewRef(operation);
    origin->user = Py_NewRef(user);
    origin->id = record->execution;
    origin->parent_id = record->parent;
    return origin;
}

static PyObject *tuples_of(Names *names, const Record *records, Py_ssize_t count, int64_t shift_ns) {
    PyObject *list = PyList_New(count);
    Origin *last = NULL;
    for (Py_ssize_t i = 0; list && i < count; i++) {
        const Record *record = &records[i];
        Origin *origin = origin_of(names, record, last);
        PyObject *row = origin ? Py_BuildValue("(LNiLLLLLdO)", record->ended_ns + shift_ns, origin, (int)record->code,
                                               record->cpu_ns, record->memory, record->network, record->disk,
                                               record->duration_ns, record->units, names->texts[record->meter])
                               : NULL;
        last = origin;
        if (row == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, row);
    }
    return list;
}

PyObject *recording_take(Recording *recording, Py_ssize_t limit, int64_t shift_ns) {
    Py_ssize_t size = 0, count = 0;
    begin_reading(recording);
    Record *records = copied(recording, limit, 0, &size, &count);
    PyObject *list = records ? tuples_of(&recording->names, records, count, shift_ns) : NULL;
    free(records);
    if (list) take_copied(recording);
    end_reading(recording);
    return list;
}

/* Rows ----------------------------------------------------------------------------------------------------------------- */

static PyObject *row_of(const Record *record, PyObject **texts, int64_t shift_ns, int64_t hz, PyObject *source) {
    Row *row = PyObject_New(Row, &RowType);
    if (row == NULL) return NULL;
    row->time_ns = record->ended_ns + shift_ns;
    row->code = record->code;
    row->cycles = (int64_t)((__int128)record->cpu_ns * hz / 1000000000);
    row->memory = record->memory, row->network = record->network, row->disk = record->disk;
    row->duration_ns = record->duration_ns;
    row->execution = record->execution, row->parent = record->parent;
    row->units = record->units;
    row->user = Py_NewRef(texts[record->user]);
    row->operation = Py_NewRef(texts[record->operation]);
    row->meter = Py_NewRef(texts[record->meter]);
    row->source = Py_NewRef(source);
    return (PyObject *)row;
}

PyObject *recording_take_rows(Recording *recording, Py_ssize_t limit, int64_t shift_ns, int64_t hz, PyObject *source,
                              int folds) {
    Py_ssize_t size = 0, count = 0;
    begin_reading(recording);
    Record *records = copied(recording, limit, folds, &size, &count);
    PyObject *list = records ? PyList_New(count) : NULL;
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *row = row_of(&records[i], recording->names.texts, shift_ns, hz, source);
        if (row == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, row);
    }
    free(records);
    if (list) take_copied(recording); /* else nothing was taken off */
    end_reading(recording);
    return list ? Py_BuildValue("(nN)", size, list) : NULL;
}
