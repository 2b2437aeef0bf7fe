/* The ring of records, the totals of what it has no room for, and the table of names that both refer to. */
#include "rows.h"
#include <string.h>

#define MANY_NAMES 65536

/* Names ------------------------------------------------------------------------------------------------------------ */

static uint32_t place_of_name(Names *names, PyObject *text) {
    PyObject *known = PyDict_GetItemWithError(names->numbers, text);
    if (known != NULL) return (uint32_t)PyLong_AsUnsignedLong(known);
    if (names->count == names->room) {
        uint32_t room = names->room ? names->room * 2 : 256;
        PyObject **texts = realloc(names->texts, room * sizeof *texts);
        if (texts == NULL) return 0;
        names->texts = texts;
        names->room = room;
    }
    PyObject *number = PyLong_FromUnsignedLong(names->count);
    if (number == NULL || PyDict_SetItem(names->numbers, text, number) < 0) {
        Py_XDECREF(number);
        PyErr_Clear();
        return 0;
    }
    Py_DECREF(number);
    names->texts[names->count] = Py_NewRef(text);
    return names->count++;
}

static void forget_names(Names *names) {
    for (uint32_t i = 0; i < names->count; i++) Py_DECREF(names->texts[i]);
    names->count = 0;
    names->generation++;
    if (names->numbers) PyDict_Clear(names->numbers);
}

static void name_execution(Names *names, Execution *execution) {
    if (execution->generation == names->generation) return;
    execution->operation_name = place_of_name(names, execution->operation);
    execution->user_name = place_of_name(names, execution->user);
    execution->generation = names->generation;
}

/* Totals ----------------------------------------------------------------------------------------------------------- */

static Total *place_of_total(Total *totals, Py_ssize_t places, const Record *key) {
    uint64_t hash = ((uint64_t)key->operation << 32 | key->user) * 0x9E3779B97F4A7C15u;
    hash ^= (uint64_t)(key->meter * 16 + key->code) * 0xC2B2AE3D27D4EB4Fu;
    for (Py_ssize_t at = (Py_ssize_t)(hash >> 20) & (places - 1);; at = (at + 1) & (places - 1)) {
        Total *total = &totals[at];
        if (total->records == 0 || (total->operation == key->operation && total->user == key->user &&
                                    total->meter == key->meter && total->code == key->code))
            return total;
    }
}

static int make_room(Ring *ring) {
    if (ring->totals && ring->used * 4 < ring->places * 3) return 1;
    Py_ssize_t places = ring->places ? ring->places * 2 : 256;
    Total *totals = calloc((size_t)places, sizeof(Total));
    if (totals == NULL) return ring->totals && ring->used + 1 < ring->places;
    for (Py_ssize_t i = 0; i < ring->places; i++) {
        Total *total = &ring->totals[i];
        Record key = {.operation = total->operation, .user = total->user, .meter = total->meter, .code = total->code};
        if (total->records) *place_of_total(totals, places, &key) = *total;
    }
    free(ring->totals);
    ring->totals = totals;
    ring->places = places;
    return 1;
}

static void add_to_total(Ring *ring, const Record *record) {
    if (!make_room(ring)) return;
    Total *total = place_of_total(ring->totals, ring->places, record);
    if (total->records == 0) {
        total->operation = record->operation, total->user = record->user;
        total->meter = record->meter, total->code = record->code;
        ring->used++;
    }
    total->records++;
    total->cpu_ns += record->cpu_ns;
    total->memory += record->memory;
    total->network += record->network;
    total->disk += record->disk;
    total->duration_ns += record->duration_ns;
    total->units += record->units;
}

static void drop_totals(Ring *ring) {
    if (ring->used) memset(ring->totals, 0, sizeof(Total) * (size_t)ring->places);
    ring->used = 0;
}

/* Records ---------------------------------------------------------------------------------------------------------- */

int ring_init(Ring *ring, Py_ssize_t capacity) {
    ring->capacity = capacity;
    ring->names.numbers = PyDict_New();
    ring->names.generation = 1;
    return ring->names.numbers != NULL && place_of_name(&ring->names, metercast_empty_text) == 0;
}

void ring_clear(Ring *ring) {
    ring->first = ring->count = 0;
    ring->dropped = 0;
    drop_totals(ring);
}

void ring_free(Ring *ring) {
    PyBuffer_Release(&ring->counted_in);
    forget_names(&ring->names);
    Py_CLEAR(ring->names.numbers);
    free(ring->names.texts);
    free(ring->records);
    free(ring->totals);
}

void ring_append(Ring *ring, Execution *execution, PyObject *meter, Record record) {
    if (!ring->is_on) return;
    ring->recorded++;
    if (ring->counted_in.buf) ++*(uint64_t *)ring->counted_in.buf;
    name_execution(&ring->names, execution);
    record.operation = execution->operation_name;
    record.user = execution->user_name;
    record.meter = meter ? place_of_name(&ring->names, meter) : 0;
    record.execution = execution->id;
    record.parent = execution->parent_id;
    if (ring->sums_up) {
        add_to_total(ring, &record);
        return;
    }
    if (ring->records == NULL && ring->capacity > 0) {
        ring->records = malloc(sizeof(Record) * (size_t)ring->capacity);
        ring->allocated = ring->records ? ring->capacity : 0;
    }
    if (ring->count >= ring->allocated) {
        ring->dropped++;
        add_to_total(ring, &record);
        return;
    }
    Py_ssize_t place = ring->first + ring->count++;
    ring->records[place >= ring->allocated ? place - ring->allocated : place] = record;
}

/* For the shipper -------------------------------------------------------------------------------------------------- */

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

#include "structmember.h"

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

int ring_types_ready(void) { return PyType_Ready(&OriginType); }

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

static void forget_many_names(Ring *ring) {
    if (ring->names.count < MANY_NAMES || ring->count || ring->used) return;
    forget_names(&ring->names);
    place_of_name(&ring->names, metercast_empty_text);
}

PyObject *ring_take(Ring *ring, Py_ssize_t limit, int64_t shift_ns) {
    Py_ssize_t size = limit < ring->count ? limit : ring->count;
    PyObject *list = PyList_New(size);
    Origin *last = NULL;
    for (Py_ssize_t i = 0; list && i < size; i++) {
        Record record = ring->records[ring->first];
        Origin *origin = origin_of(&ring->names, &record, last);
        PyObject *row = origin ? Py_BuildValue("(LNiLLLLLdO)", record.ended_ns + shift_ns, origin, (int)record.code,
                                               record.cpu_ns, record.memory, record.network, record.disk,
                                               record.duration_ns, record.units, ring->names.texts[record.meter])
                               : NULL;
        if (row == NULL) {
            Py_CLEAR(list);
            break;
        }
        last = origin;
        ring->first = ring->first + 1 == ring->allocated ? 0 : ring->first + 1;
        ring->count--;
        PyList_SET_ITEM(list, i, row);
    }
    if (ring->count == 0) ring->first = 0; /* a ring that is emptied in time stays in the cache */
    forget_many_names(ring);
    return list;
}

#define LOOK_BACK 24

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

PyObject *ring_take_rows(Ring *ring, Py_ssize_t limit, int64_t shift_ns, int64_t hz, PyObject *source, int folds) {
    Py_ssize_t size = limit < ring->count ? limit : ring->count, count = 0;
    Record *records = size > 0 ? malloc(sizeof(Record) * (size_t)size) : NULL;
    if (size > 0 && records == NULL) return PyErr_NoMemory();
    for (Py_ssize_t i = 0; i < size; i++) {
        Py_ssize_t place = ring->first + i;
        const Record *record = &ring->records[place >= ring->allocated ? place - ring->allocated : place];
        if (!folds || !fold(records, count, record)) records[count++] = *record;
    }
    PyObject *list = PyList_New(count);
    for (Py_ssize_t i = 0; list && i < count; i++) {
        PyObject *row = row_of(&records[i], ring->names.texts, shift_ns, hz, source);
        if (row == NULL)
            Py_CLEAR(list);
        else
            PyList_SET_ITEM(list, i, row);
    }
    free(records);
    if (list == NULL) return NULL; /* nothing was taken off */
    ring->count -= size;
    ring->first = ring->count == 0 ? 0 : (ring->first + size) % ring->allocated;
    forget_many_names(ring);
    return Py_BuildValue("(nN)", size, list);
}

PyObject *ring_take_totals(Ring *ring) {
    PyObject *list = PyList_New(0), **texts = ring->names.texts;
    for (Py_ssize_t i = 0; list && ring->used && i < ring->places; i++) {
        Total *total = &ring->totals[i];
        if (total->records == 0) continue;
        PyObject *row = Py_BuildValue("((OOiO)[LLLLLLd])", texts[total->user], texts[total->operation],
                                      (int)total->code, texts[total->meter], total->records, total->cpu_ns,
                                      total->memory, total->network, total->disk, total->duration_ns, total->units);
        if (row == NULL || PyList_Append(list, row) < 0) Py_CLEAR(list);
        Py_XDECREF(row);
    }
    if (list) drop_totals(ring);
    forget_many_names(ring);
    return list;
}
