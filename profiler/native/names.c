/* The table of names: texts of operations, users and meters become numbers, once a run of an operation. */
#include "engine.h"

#define MANY_NAMES 65536

uint32_t place_of_name(Recording *recording, PyObject *text) {
    Names *names = &recording->names;
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
    if (recording->file.head) ring_file_name(&recording->file, names, text);
    names->texts[names->count] = Py_NewRef(text);
    return names->count++;
}

void name_execution(Recording *recording, Execution *execution) {
    if (execution->generation == recording->names.generation) return;
    execution->operation_name = place_of_name(recording, execution->operation);
    execution->user_name = place_of_name(recording, execution->user);
    execution->generation = recording->names.generation;
}

void forget_names(Recording *recording) {
    Names *names = &recording->names;
    for (uint32_t i = 0; i < names->count; i++) Py_DECREF(names->texts[i]);
    names->count = 0;
    names->generation++;
    if (recording->file.head) recording->file.head->names_count = recording->file.head->names_size = 0;
    if (names->numbers) PyDict_Clear(names->numbers);
}

void forget_many_names(Recording *recording) {
    if (recording->names.count < MANY_NAMES || recording->used) return;
    for (Ring *ring = recording->rings; ring; ring = ring->next)
        if (ring->positions->head != ring->positions->tail) return;
    forget_names(recording);
    place_of_name(recording, metercast_empty_text);
}
