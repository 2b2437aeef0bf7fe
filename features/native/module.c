/* `features._columns`: batches of events from what strangers send, where everything in it is plainly good. */
#include "arrow.h"

static PyMethodDef METHODS[] = {
    {"decode_json", decode_json, METH_VARARGS,
     "decode_json(body, start, rules, key) -> (end, (capsule, address)), or None for what is left to Python.\n\n"
     "rules: (table, longest, allowed, oldest_s, newest_s), the table a tuple of (name, kind, is_nested, is_required);\n"
     "kinds: t time, s string, n name without a bar, e one of allowed, c count, a amount, i integer.\n"
     "key: (producer, epoch, sequence). The address is that of a batch in Arrow's C data interface."},
    {"check_rows", check_rows, METH_VARARGS,
     "check_rows(schema, array, rules, key, most_bytes) -> (capsule, address), or None for what is left to Python.\n\n"
     "schema and array are the capsules of a record batch that `validate` found good; the batch is used up."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_columns", NULL, -1, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__columns(void) { return PyModule_Create(&MODULE); }
