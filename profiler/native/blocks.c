/* What runs around a program's own code, without a Python frame of its own: `with operation(...)`, and the steps of an
 * event loop. */
#include "engine.h"
#include "structmember.h"

/* Block: the context manager below metercast.operations.operation ----------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *name, *user;
    PyObject *execution; /* NULL: not open */
    PyObject *engine;    /* that opened it; owned */
} Block;

static PyObject *engine_in_use; /* owned; NULL: blocks do nothing */

static int block_init(Block *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"name", "user", NULL};
    PyObject *name, *user = metercast_empty_text;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "U|U:operation", names, &name, &user)) return -1;
    Py_XSETREF(self->name, Py_NewRef(name));
    Py_XSETREF(self->user, Py_NewRef(user));
    return 0;
}

static int block_traverse(Block *self, visitproc visit, void *arg) {
    Py_VISIT(self->execution);
    return 0;
}

static int block_clear(Block *self) {
    Py_CLEAR(self->execution);
    return 0;
}

static void block_dealloc(Block *self) {
    PyObject_GC_UnTrack(self);
    Py_XDECREF(self->name);
    Py_XDECREF(self->user);
    Py_XDECREF(self->execution);
    Py_XDECREF(self->engine);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static int is_compiled(PyObject *engine) { return Py_IS_TYPE(engine, &EngineType); }

/* 1, 0, or -1 with an error; an engine may also be one that is written in Python. */
static int is_on(PyObject *engine) {
    if (is_compiled(engine)) return ((Engine *)engine)->recording.is_on;
    PyObject *value = PyObject_GetAttrString(engine, "is_on");
    int is_true = value ? PyObject_IsTrue(value) : -1;
    Py_XDECREF(value);
    return is_true;
}

static PyObject *block_enter(Block *self, PyObject *Py_UNUSED(ignored)) {
    PyObject *engine = engine_in_use;
    int can_open = engine == NULL ? 0 : is_on(engine);
    if (can_open < 1) return can_open < 0 ? NULL : Py_NewRef((PyObject *)self);
    if (self->execution != NULL) {
        PyErr_Format(PyExc_RuntimeError, "operation(%R) is already open; one object meters one block at a time. "
                     "Write operation(...) anew for each block.", self->name);
        return NULL;
    }
    self->execution = is_compiled(engine) ? (PyObject *)engine_enter((Engine *)engine, self->name, self->user)
                                          : PyObject_CallMethod(engine, "enter", "OO", self->name, self->user);
    if (self->execution == NULL) return NULL;
    if (self->engine != engine) Py_XSETREF(self->engine, Py_NewRef(engine));
    return Py_NewRef((PyObject *)self);
}

static PyObject *block_exit(Block *self, PyObject *const *Py_UNUSED(args), Py_ssize_t Py_UNUSED(count)) {
    PyObject *execution = self->execution;
    self->execution = NULL;
    if (execution == NULL) Py_RETURN_NONE;
    if (is_compiled(self->engine) && Py_IS_TYPE(execution, &ExecutionType)) {
        engine_leave((Engine *)self->engine, (Execution *)execution);
        Py_DECREF(execution);
        Py_RETURN_NONE;
    }
    PyObject *done = PyObject_CallMethod(self->engine, "leave", "O", execution);
    Py_DECREF(execution);
    return done;
}

static PyObject *block_use(PyObject *Py_UNUSED(type), PyObject *engine) {
    PyObject *before = engine_in_use;
    engine_in_use = engine == Py_None ? NULL : Py_NewRef(engine);
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

static PyMemberDef block_members[] = {
    {"name", T_OBJECT_EX, offsetof(Block, name), READONLY, NULL},
    {"user", T_OBJECT_EX, offsetof(Block, user), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyMethodDef block_methods[] = {
    {"__enter__", (PyCFunction)block_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))block_exit, METH_FASTCALL, NULL},
    {"use", block_use, METH_O | METH_STATIC, "The engine that blocks opened from now on report to."},
    {NULL, NULL, 0, NULL},
};

PyTypeObject BlockType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "metercast._engine.Block",
    .tp_doc = "Opens an operation for a block.",
    .tp_basicsize = sizeof(Block),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)block_init,
    .tp_traverse = (traverseproc)block_traverse,
    .tp_clear = (inquiry)block_clear,
    .tp_dealloc = (destructor)block_dealloc,
    .tp_members = block_members,
    .tp_methods = block_methods,
};

/* Step: stands in for asyncio.Handle._run --------------------------------------------------------------------------- */

/* Where a class of handles has its slots; 0: it has none of that name. */
typedef struct {
    PyTypeObject *type; /* owned */
    Py_ssize_t context, callback, args;
} Layout;

typedef struct {
    PyObject_HEAD
    Engine *engine;
    PyObject *original, *report;
    Layout layouts[2]; /* of handles and timers */
    vectorcallfunc call;
} Step;

static Py_ssize_t place_of_slot(PyTypeObject *type, const char *name) {
    PyObject *slot = PyObject_GetAttrString((PyObject *)type, name);
    Py_ssize_t place = 0;
    if (slot && Py_IS_TYPE(slot, &PyMemberDescr_Type)) {
        PyMemberDef *member = ((PyMemberDescrObject *)slot)->d_member;
        if (member->type == T_OBJECT_EX) place = member->offset;
    }
    Py_XDECREF(slot);
    PyErr_Clear();
    return place;
}

static const Layout *layout_of(Step *self, PyTypeObject *type) {
    Layout *layout = &self->layouts[self->layouts[0].type != NULL && self->layouts[0].type != type];
    if (layout->type == type) return layout;
    Py_XSETREF(layout->type, (PyTypeObject *)Py_NewRef(type));
    layout->context = place_of_slot(type, "_context");
    layout->callback = place_of_slot(type, "_callback");
    layout->args = place_of_slot(type, "_args");
    return layout;
}

static inline PyObject *in_slot(PyObject *handle, Py_ssize_t place) {
    return place ? Py_XNewRef(*(PyObject **)((char *)handle + place)) : NULL;
}

static void charge_for(Engine *engine, Execution *execution) {
    if (this_thread()->charged != execution) switch_to(engine, execution);
}

/* What asyncio does with an error of a callback: two kinds end the loop, any other goes to the loop's handler. */
static PyObject *failed(Step *self, PyObject *handle) {
    PyObject *kind, *error, *trace;
    if (PyErr_ExceptionMatches(PyExc_SystemExit) || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) return NULL;
    PyErr_Fetch(&kind, &error, &trace);
    PyErr_NormalizeException(&kind, &error, &trace);
    if (trace) PyException_SetTraceback(error, trace);
    PyObject *done = PyObject_CallFunctionObjArgs(self->report, handle, error, NULL);
    Py_XDECREF(kind);
    Py_XDECREF(error);
    Py_XDECREF(trace);
    return done;
}

static PyObject *run_in_context(Step *self, PyObject *context, PyObject *callback, PyObject *args) {
    Engine *engine = self->engine;
    if (PyContext_Enter(context) < 0) return NULL;
    charge_for(engine, current_execution(engine));
    PyObject *kind = NULL, *error = NULL, *trace = NULL, *result = PyObject_Call(callback, args, NULL);
    if (result == NULL) PyErr_Fetch(&kind, &error, &trace); /* what follows must not meet it */
    if (PyContext_Exit(context) < 0) Py_CLEAR(result);
    charge_for(engine, current_execution(engine));
    if (kind != NULL) PyErr_Restore(kind, error, trace);
    return result;
}

static PyObject *step_call(PyObject *callable, PyObject *const *args, size_t count, PyObject *names) {
    Step *self = (Step *)callable;
    PyObject *handle = PyVectorcall_NARGS(count) == 1 ? args[0] : NULL, *result = NULL;
    if (handle == NULL || !self->engine->recording.is_on) return PyObject_Vectorcall(self->original, args, count, names);
    const Layout *layout = layout_of(self, Py_TYPE(handle));
    PyObject *context = in_slot(handle, layout->context), *callback = in_slot(handle, layout->callback);
    PyObject *arguments = in_slot(handle, layout->args);
    if (!context || !callback || !arguments || !PyContext_CheckExact(context) || !PyTuple_CheckExact(arguments)) {
        result = PyObject_Vectorcall(self->original, args, count, names);
    } else {
        result = run_in_context(self, context, callback, arguments);
        if (result != NULL)
            Py_SETREF(result, Py_NewRef(Py_None));
        else
            result = failed(self, handle);
    }
    Py_XDECREF(context);
    Py_XDECREF(callback);
    Py_XDECREF(arguments);
    return result;
}

static PyObject *step_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    PyObject *engine, *original, *report;
    if (!PyArg_ParseTuple(args, "O!OO:Step", &EngineType, &engine, &original, &report)) return NULL;
    Step *self = (Step *)type->tp_alloc(type, 0);
    if (self == NULL) return NULL;
    self->engine = (Engine *)Py_NewRef(engine);
    self->original = Py_NewRef(original);
    self->report = Py_NewRef(report);
    self->call = step_call;
    return (PyObject *)self;
}

static void step_dealloc(Step *self) {
    Py_XDECREF(self->engine);
    Py_XDECREF(self->original);
    Py_XDECREF(self->report);
    for (int i = 0; i < 2; i++) Py_XDECREF(self->layouts[i].type);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *step_bind(PyObject *self, PyObject *object, PyObject *Py_UNUSED(type)) {
    return object == NULL || object == Py_None ? Py_NewRef(self) : PyMethod_New(self, object);
}

static PyMemberDef step_members[] = {
    {"__wrapped__", T_OBJECT_EX, offsetof(Step, original), READONLY, NULL},
    {"__vectorcalloffset__", T_PYSSIZET, offsetof(Step, call), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

PyTypeObject StepType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "metercast._engine.Step",
    .tp_doc = "Runs a callback of an event loop for the operation it belongs to.",
    .tp_basicsize = sizeof(Step),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .tp_new = step_new,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(Step, call),
    .tp_descr_get = step_bind,
    .tp_dealloc = (destructor)step_dealloc,
    .tp_members = step_members,
};
