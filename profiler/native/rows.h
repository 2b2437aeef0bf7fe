/* A row of a batch, as metercast/shipping/batch.py describes it. */
#ifndef METERCAST_ROWS_H
#define METERCAST_ROWS_H

#include "engine.h"

#define ROW_FIELDS 14

typedef struct {
    PyObject_HEAD
    int64_t time_ns, code, cycles, memory, network, disk, duration_ns, execution, parent;
    double units;
    PyObject *user, *operation, *meter, *source; /* owned */
} Row;

extern PyTypeObject RowType;

/* What a row of either kind holds; texts are borrowed from the row. 0: an error is set. */
int read_row(PyObject *object, Row *row, double *duration_ms);

PyObject *metercast_pack_columns(PyObject *module, PyObject *rows);
PyObject *metercast_json_events(PyObject *module, PyObject *args);

#endif
