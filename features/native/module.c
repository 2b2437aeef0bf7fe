/* `features._columns`: batches of events from what strangers send, where everything in it is plainly good. */
#include "arrow.h"

static PyMethodDef METHODS[] = {
    {"make_rules", make_rules, METH_VARARGS,
     "make_rules(table, longest, allowed) -> rules of events, for the other functions.\n\n"
     "table: a tuple of (name, kind, is_nested, is_required); kinds: t time, s string, n name without a bar, e one of\n"
     "allowed, c count, a amount, i integer."},
    {"decode_json", decode_json, METH_VARARGS,
     "decode_json(body, start, rules, key) -> (end, (capsule, address)), or None for what is left to Python.\n\n"
     "key: (producer, epoch, sequence, oldest_s, newest_s). The address is that of a batch in Arrow's C data interface."},
    {"check_rows", check_rows, METH_VARARGS,
     "check_rows(schema, array, rules, key, most_bytes) -> (capsule, address), or None for what is left to Python.\n\n"
     "schema and array are the capsules of a record batch that `validate` found good; the batch is used up."},
    {"narrow", narrow, METH_VARARGS,
     "narrow(array, rules) -> (schema, (array, address)) of the same rows in fewer bytes; None for batches of other\n"
     "columns. The batch that is given is used up."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_columns", NULL, -1, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__columns(void) { return PyModule_Create(&MODULE); }
