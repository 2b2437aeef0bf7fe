/* Totals by user, operation, type and meter of what the rings have no room for: detail is lost then, amounts are not. */
#include "engine.h"
#include <string.h>

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

static int make_room(Recording *recording) {
    if (recording->totals && recording->used * 4 < recording->places * 3) return 1;
    Py_ssize_t places = recording->places ? recording->places * 2 : 256;
    Total *totals = calloc((size_t)places, sizeof(Total));
    if (totals == NULL) return recording->totals && recording->used + 1 < recording->places;
    for (Py_ssize_t i = 0; i < recording->places; i++) {
        Total *total = &recording->totals[i];
        Record key = {.operation = total->operation, .user = total->user, .meter = total->meter, .code = total->code};
        if (total->records) *place_of_total(totals, places, &key) = *total;
    }
    free(recording->totals);
    recording->totals = totals;
    recording->places = places;
    return 1;
}

void add_to_total(Recording *recording, const Record *record) {
    if (!make_room(recording)) return;
    Total *total = place_of_total(recording->totals, recording->places, record);
    if (total->records == 0) {
        total->operation = record->operation, total->user = record->user;
        total->meter = record->meter, total->code = record->code;
        recording->used++;
    }
    total->records++;
    total->cpu_ns += record->cpu_ns;
    total->memory += record->memory;
    total->network += record->network;
    total->disk += record->disk;
    total->duration_ns += record->duration_ns;
    total->units += record->units;
}

void drop_totals(Recording *recording) {
    if (recording->used) memset(recording->totals, 0, sizeof(Total) * (size_t)recording->places);
    recording->used = 0;
}

PyObject *recording_take_totals(Recording *recording) {
    PyObject *list = PyList_New(0), **texts = recording->names.texts;
    for (Py_ssize_t i = 0; list && recording->used && i < recording->places; i++) {
        Total *total = &recording->totals[i];
        if (total->records == 0) continue;
        PyObject *row = Py_BuildValue("((OOiO)[LLLLLLd])", texts[total->user], texts[total->operation],
                                      (int)total->code, texts[total->meter], total->records, total->cpu_ns,
                                      total->memory, total->network, total->disk, total->duration_ns, total->units);
        if (row == NULL || PyList_Append(list, row) < 0) Py_CLEAR(list);
        Py_XDECREF(row);
    }
    if (list) drop_totals(recording);
    forget_many_names(recording);
    return list;
}
