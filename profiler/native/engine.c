/* The compiled engine as Python sees it: the same contract as metercast/engine.py. */
#include "engine_methods.h"
#include "rows.h"
#include "structmember.h"
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define CONTRACT 4 /* of metercast/engine.py */

PyObject *metercast_empty_text, *metercast_executions_text;
static int64_t usual_short_ns;

static void seed_numbers(Engine *self) {
    uint32_t random = 0;
    if (getentropy(&random, sizeof random) != 0) random = (uint32_t)(getpid() ^ elapsed_clock());
    self->number = (long long)(random >> 1) << 32;
}

static int engine_init(Engine *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"capacity", NULL};
    Py_ssize_t capacity = 65536;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|n", names, &capacity)) return -1;
    self->current = PyContextVar_New("metercast", Py_None);
    self->user = PyContextVar_New("metercast_user", metercast_empty_text);
    self->default_user = PyUnicode_FromString("unknown");
    self->source = PyUnicode_InternFromString("thread-clock");
    self->user_headers = Py_BuildValue("(ss)", "X-Metercast-User", "X-User");
    seed_numbers(self);
    if (!recording_init(&self->recording, capacity)) return -1;
    return self->current && self->user && self->default_user && self->source && self->user_headers ? 0 : -1;
}

static void engine_dealloc(Engine *self) {
    recording_free(&self->recording);
    Py_XDECREF(self->current);
    Py_XDECREF(self->user);
    Py_XDECREF(self->default_user);
    Py_XDECREF(self->source);
    Py_XDECREF(self->user_headers);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *engine_reset_after_fork(Engine *self, PyObject *Py_UNUSED(ignored)) {
    metercast_forget_forked();
    threads_after_fork(self, current_execution(self)); /* first: another thread may have had its locks */
    recording_after_fork(&self->recording);
    seed_numbers(self);
    Py_RETURN_NONE;
}

/* Properties --------------------------------------------------------------------------------------------------------- */

static PyObject *get_is_on(Engine *self, void *Py_UNUSED(closure)) { return PyBool_FromLong(self->recording.is_on); }

static int set_is_on(Engine *self, PyObject *value, void *Py_UNUSED(closure)) {
    self->recording.is_on = value != NULL && PyObject_IsTrue(value) == 1;
    if (self->recording.is_on && usual_short_ns == 0) {
        metercast_prepare_clocks();
        usual_short_ns = metercast_has_sections ? 1 : metercast_short_ns;
        metercast_short_ns = usual_short_ns;
    }
    if (self->recording.is_on && !atomic_load(&metercast_is_on)) metercast_explain_all();
    atomic_store(&metercast_is_on, self->recording.is_on);
    return 0;
}

static PyObject *get_capacity(Engine *self, void *Py_UNUSED(closure)) {
    return PyLong_FromSsize_t(self->recording.capacity);
}

static int set_capacity(Engine *self, PyObject *value, void *Py_UNUSED(closure)) {
    Py_ssize_t capacity = value ? PyLong_AsSsize_t(value) : -1;
    if (capacity < 0 || recording_waiting(&self->recording) > 0) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "capacity: set a number >= 0 before recording");
        return -1;
    }
    recording_drop_rings(&self->recording);
    self->recording.capacity = capacity;
    return 0;
}

static const char *const clock_names[] = {"exact", "adaptive", "coarse"};

static PyObject *get_clock(Engine *Py_UNUSED(self), void *Py_UNUSED(closure)) {
    int place = !atomic_load(&metercast_times_calls) ? 2 : metercast_short_ns < 0 ? 0 : 1;
    return PyUnicode_FromString(clock_names[place]);
}

static int set_clock(Engine *Py_UNUSED(self), PyObject *value, void *Py_UNUSED(closure)) {
    for (int place = 0; value && PyUnicode_Check(value) && place < 3; place++) {
        if (PyUnicode_CompareWithASCIIString(value, clock_names[place]) != 0) continue;
        metercast_short_ns = place == 0 ? -1 : usual_short_ns ? usual_short_ns : 10000;
        atomic_store(&metercast_times_calls, place != 2);
        return 0;
    }
    PyErr_Format(PyExc_ValueError, "clock: %R is none of 'exact', 'adaptive', 'coarse'; set one of them", value);
    return -1;
}

static PyGetSetDef engine_properties[] = {
    {"is_on", (getter)get_is_on, (setter)set_is_on, NULL, NULL},
    {"capacity", (getter)get_capacity, (setter)set_capacity, NULL, NULL},
    {"clock", (getter)get_clock, (setter)set_clock, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef engine_members[] = {
    {"current", T_OBJECT_EX, offsetof(Engine, current), READONLY, NULL},
    {"user", T_OBJECT_EX, offsetof(Engine, user), READONLY, NULL},
    {"default_user", T_OBJECT_EX, offsetof(Engine, default_user), 0, NULL},
    {"source", T_OBJECT_EX, offsetof(Engine, source), READONLY, NULL},
    {"user_headers", T_OBJECT_EX, offsetof(Engine, user_headers), 0, NULL},
    {"sums_up", T_BOOL, offsetof(Engine, recording.sums_up), 0, NULL},
    {"dropped", T_LONGLONG, offsetof(Engine, recording.dropped), 0, NULL},
    {"tick", T_LONGLONG, offsetof(Engine, tick), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

#define METHOD(name, flags) {#name, (PyCFunction)(void (*)(void))engine_##name, flags, NULL}
static PyMethodDef engine_methods[] = {
    METHOD(open, METH_FASTCALL | METH_KEYWORDS),
    METHOD(close, METH_O),
    {"enter", (PyCFunction)(void (*)(void))method_enter, METH_FASTCALL, NULL},
    {"leave", (PyCFunction)(void (*)(void))method_leave, METH_O, NULL},
    METHOD(switch, METH_O),
    METHOD(resume, METH_O),
    METHOD(after_call, METH_FASTCALL | METH_KEYWORDS),
    METHOD(count, METH_VARARGS),
    METHOD(claim, METH_VARARGS),
    METHOD(checkpoint, METH_NOARGS),
    METHOD(charged, METH_NOARGS),
    METHOD(mute, METH_NOARGS),
    METHOD(count_into, METH_O),
    METHOD(keep_in, METH_VARARGS),
    METHOD(keep_no_more, METH_NOARGS),
    METHOD(intend, METH_NOARGS),
    METHOD(release, METH_NOARGS),
    METHOD(reset_after_fork, METH_NOARGS),
    METHOD(pending, METH_NOARGS),
    METHOD(recorded, METH_NOARGS),
    METHOD(take, METH_O),
    METHOD(take_rows, METH_VARARGS),
    METHOD(take_totals, METH_NOARGS),
    METHOD(calls, METH_NOARGS),
    METHOD(attributed_ns, METH_NOARGS),
    METHOD(moved, METH_NOARGS),
    METHOD(unexplained, METH_O),
    METHOD(intercept, METH_NOARGS),
    METHOD(count_allocations, METH_NOARGS),
    METHOD(count_numpy, METH_O),
    METHOD(count_cycles, METH_VARARGS),
    {NULL, NULL, 0, NULL},
};

PyTypeObject EngineType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "metercast._engine.Engine",
    .tp_doc = "Records micro-operations of this process; the contract of metercast.engine.Engine.",
    .tp_basicsize = sizeof(Engine),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)engine_init,
    .tp_dealloc = (destructor)engine_dealloc,
    .tp_members = engine_members,
    .tp_getset = engine_properties,
    .tp_methods = engine_methods,
};

static PyObject *scaled_count(PyObject *Py_UNUSED(module), PyObject *args) {
    unsigned long long count, enabled, running;
    if (!PyArg_ParseTuple(args, "KKK", &count, &enabled, &running)) return NULL;
    return PyLong_FromLongLong(counter_scaled(count, enabled, running));
}

static PyMethodDef functions[] = {
    {"scaled_count", scaled_count, METH_VARARGS, "scaled_count(count, ns enabled, ns running) -> count of all the time; -1: none"},
    {"pack_columns", metercast_pack_columns, METH_O, "pack_columns(rows) -> (names, columns, bytes) of a batch"},
    {"json_events", metercast_json_events, METH_VARARGS, "json_events(rows, names_of, quote) -> the events of a batch"},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, .m_name = "metercast._engine",
                                    .m_doc = "The compiled engine.", .m_size = -1, .m_methods = functions};

static int add_types(PyObject *made) {
    static const struct {
        const char *name;
        PyTypeObject *type;
    } types[] = {{"Engine", &EngineType}, {"Execution", &ExecutionType}, {"Block", &BlockType}, {"Step", &StepType},
                 {"Hook", &HookType}, {"Request", &RequestType}, {"Row", &RowType}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (PyType_Ready(types[i].type) < 0) return -1;
        if (PyModule_AddObjectRef(made, types[i].name, (PyObject *)types[i].type) < 0) return -1;
    }
    return recording_types_ready();
}

PyMODINIT_FUNC PyInit__engine(void) {
    metercast_empty_text = PyUnicode_InternFromString("");
    metercast_executions_text = PyUnicode_InternFromString("executions");
    if (!metercast_empty_text || !metercast_executions_text || !threads_init()) return NULL;
    PyObject *made = PyModule_Create(&module);
    if (made == NULL || add_types(made) < 0 || PyModule_AddIntConstant(made, "CONTRACT", CONTRACT) < 0) return NULL;
    return made;
}
