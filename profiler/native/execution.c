/* One run of an operation, as Python sees it. */
#include "engine.h"
#include "structmember.h"
#include <string.h>

int execution_or_none(PyObject *value, Execution **execution) {
    *execution = Py_IS_TYPE(value, &ExecutionType) ? (Execution *)value : NULL;
    if (*execution || value == Py_None) return 1;
    PyErr_Format(PyExc_TypeError, "an Execution of this engine or None is wanted, not %R", value);
    return 0;
}

/* Executions come and go with every request, so some are kept with their room for sums. */
#define KEPT 64
static Execution *kept[KEPT];
static int kept_count;

Execution *execution_new(void) {
    Execution *self = kept_count ? kept[--kept_count] : NULL;
    Sum *sums = self ? self->sums : NULL;
    self = self ? (Execution *)PyObject_Init((PyObject *)self, &ExecutionType) : PyObject_New(Execution, &ExecutionType);
    if (self == NULL) return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof(Execution) - sizeof(PyObject));
    self->sums = sums;
    return self;
}

static void keep_or_free(Execution *self) {
    if (kept_count == KEPT) {
        free(self->sums);
        PyObject_Free(self);
        return;
    }
    if (self->sums && self->has_sums) memset(self->sums, 0, CODES * sizeof(Sum));
    kept[kept_count++] = self;
}

static void execution_dealloc(Execution *self) {
    while (self != NULL) { /* a chain of parents ends here in a loop, not in recursion */
        Execution *parent = self->parent;
        if (self->used) metercast_end_execution(self); /* never closed */
        Py_XDECREF(self->operation);
        Py_XDECREF(self->user);
        Py_XDECREF(self->outer);
        keep_or_free(self);
        if (parent == NULL || Py_REFCNT(parent) > 1) {
            Py_XDECREF(parent);
            return;
        }
        self = parent;
    }
}

static PyObject *get_operation(Execution *self, void *Py_UNUSED(closure)) { return Py_NewRef(self->operation); }
static PyObject *get_user(Execution *self, void *Py_UNUSED(closure)) { return Py_NewRef(self->user); }

static int set_text(Execution *self, PyObject **place, PyObject *text) {
    if (text == NULL || !PyUnicode_Check(text)) {
        PyErr_SetString(PyExc_TypeError, "operation and user of an execution are texts; give a str");
        return -1;
    }
    if (*place != text) {
        Py_SETREF(*place, Py_NewRef(text));
        self->generation = 0; /* its places in the table of names are looked up anew */
    }
    return 0;
}

void execution_name(Execution *self, PyObject *operation) {
    if (set_text(self, &self->operation, operation) < 0) PyErr_Clear();
}

static int set_operation(Execution *self, PyObject *text, void *Py_UNUSED(closure)) {
    return set_text(self, &self->operation, text);
}

static int set_user(Execution *self, PyObject *text, void *Py_UNUSED(closure)) {
    return set_text(self, &self->user, text);
}

static PyGetSetDef execution_properties[] = {
    {"operation", (getter)get_operation, (setter)set_operation, NULL, NULL},
    {"user", (getter)get_user, (setter)set_user, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef execution_members[] = {
    {"id", T_LONGLONG, offsetof(Execution, id), READONLY, NULL},
    {"parent_id", T_LONGLONG, offsetof(Execution, parent_id), READONLY, NULL},
    {"parent", T_OBJECT, offsetof(Execution, parent), READONLY, NULL},
    {"is_open", T_BOOL, offsetof(Execution, is_open), READONLY, NULL},
    {"is_root", T_BOOL, offsetof(Execution, is_root), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject ExecutionType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "metercast._engine.Execution",
    .tp_doc = "One run of an operation.",
    .tp_basicsize = sizeof(Execution),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)execution_dealloc,
    .tp_members = execution_members,
    .tp_getset = execution_properties,
};
