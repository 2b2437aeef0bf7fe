/* Rows of batches without fourteen Python objects each. A Row reads as the tuple it stands for; packing takes both. */
#include "rows.h"

enum { TIME, USER, OPERATION, CODE, METER, CYCLES, MEMORY, NETWORK, DISK, DURATION, UNITS, NUMBER, PARENT, SOURCE };

static PyObject *fields_of(Row *row) {
    return Py_BuildValue("(LOOLOLLLLddLLO)", row->time_ns, row->user, row->operation, row->code, row->meter, row->cycles,
                         row->memory, row->network, row->disk, (double)row->duration_ns / 1e6, row->units, row->execution,
                         row->parent, row->source);
}

/* Row ------------------------------------------------------------------------------------------------------------------ */

static void row_dealloc(Row *self) {
    Py_DECREF(self->user);
    Py_DECREF(self->operation);
    Py_DECREF(self->meter);
    Py_DECREF(self->source);
    PyObject_Free(self);
}

static Py_ssize_t row_length(PyObject *Py_UNUSED(self)) { return ROW_FIELDS; }

static PyObject *row_item(Row *self, Py_ssize_t place) {
    switch (place) {
    case TIME: return PyLong_FromLongLong(self->time_ns);
    case USER: return Py_NewRef(self->user);
    case OPERATION: return Py_NewRef(self->operation);
    case CODE: return PyLong_FromLongLong(self->code);
    case METER: return Py_NewRef(self->meter);
    case CYCLES: return PyLong_FromLongLong(self->cycles);
    case MEMORY: return PyLong_FromLongLong(self->memory);
    case NETWORK: return PyLong_FromLongLong(self->network);
    case DISK: return PyLong_FromLongLong(self->disk);
    case DURATION: return PyFloat_FromDouble((double)self->duration_ns / 1e6);
    case UNITS: return PyFloat_FromDouble(self->units);
    case NUMBER: return PyLong_FromLongLong(self->execution);
    case PARENT: return PyLong_FromLongLong(self->parent);
    case SOURCE: return Py_NewRef(self->source);
    }
    PyErr_SetString(PyExc_IndexError, "a row has 14 fields");
    return NULL;
}

static PyObject *row_subscript(Row *self, PyObject *key) {
    if (PyIndex_Check(key)) {
        Py_ssize_t place = PyNumber_AsSsize_t(key, PyExc_IndexError);
        if (place == -1 && PyErr_Occurred()) return NULL;
        return row_item(self, place < 0 ? place + ROW_FIELDS : place);
    }
    PyObject *fields = fields_of(self), *part = fields ? PyObject_GetItem(fields, key) : NULL;
    Py_XDECREF(fields);
    return part;
}

static PyObject *row_compare(PyObject *self, PyObject *other, int how) {
    PyObject *mine = fields_of((Row *)self), *theirs = Py_IS_TYPE(other, &RowType) ? fields_of((Row *)other) : Py_NewRef(other);
    PyObject *result = mine && theirs ? PyObject_RichCompare(mine, theirs, how) : NULL;
    Py_XDECREF(mine);
    Py_XDECREF(theirs);
    return result;
}

static PyObject *row_text(PyObject *self) {
    PyObject *fields = fields_of((Row *)self), *text = fields ? PyObject_Repr(fields) : NULL;
    Py_XDECREF(fields);
    return text;
}

static PySequenceMethods row_sequence = {.sq_length = row_length, .sq_item = (ssizeargfunc)row_item};
static PyMappingMethods row_mapping = {.mp_length = row_length, .mp_subscript = (binaryfunc)row_subscript};

PyTypeObject RowType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "metercast._engine.Row",
    .tp_doc = "A row of a batch; reads as the tuple of its 14 fields.",
    .tp_basicsize = sizeof(Row),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION | Py_TPFLAGS_SEQUENCE,
    .tp_dealloc = (destructor)row_dealloc,
    .tp_as_sequence = &row_sequence,
    .tp_as_mapping = &row_mapping,
    .tp_richcompare = row_compare,
    .tp_hash = PyObject_HashNotImplemented,
    .tp_repr = row_text,
};

int read_row(PyObject *object, Row *row, double *duration_ms) {
    if (Py_IS_TYPE(object, &RowType)) {
        *row = *(Row *)object;
        *duration_ms = (double)row->duration_ns / 1e6;
        return 1;
    }
    if (!PyTuple_Check(object) || PyTuple_GET_SIZE(object) != ROW_FIELDS) {
        PyErr_Format(PyExc_TypeError, "a row is a tuple of 14 fields, not %R", object);
        return 0;
    }
    PyObject **fields = &PyTuple_GET_ITEM(object, 0);
    int64_t *const numbers[ROW_FIELDS] = {[TIME] = &row->time_ns, [CODE] = &row->code, [CYCLES] = &row->cycles,
                                          [MEMORY] = &row->memory, [NETWORK] = &row->network, [DISK] = &row->disk,
                                          [NUMBER] = &row->execution, [PARENT] = &row->parent};
    for (int i = 0; i < ROW_FIELDS; i++)
        if (numbers[i]) *numbers[i] = PyLong_AsLongLong(fields[i]);
    *duration_ms = PyFloat_AsDouble(fields[DURATION]);
    row->duration_ns = -1; /* told in ms */
    row->units = PyFloat_AsDouble(fields[UNITS]);
    row->user = fields[USER], row->operation = fields[OPERATION], row->meter = fields[METER], row->source = fields[SOURCE];
    if (PyErr_Occurred()) return 0;
    if (PyUnicode_Check(row->user) && PyUnicode_Check(row->operation) && PyUnicode_Check(row->meter) &&
        PyUnicode_Check(row->source))
        return 1;
    PyErr_Format(PyExc_TypeError, "user, operation, meter and source of a row are texts, not as in %R", object);
    return 0;
}
