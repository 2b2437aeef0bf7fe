/* The compiled engine as Python sees it: the same contract as metercast/engine.py. */
#include "rows.h"
#include "structmember.h"
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define CONTRACT 4 /* of metercast/engine.py */

PyObject *metercast_empty_text, *metercast_executions_text;
static int64_t usual_short_ns;

Execution *current_execution(Engine *self) {
    PyObject *value = NULL;
    if (PyContextVar_Get(self->current, NULL, &value) < 0 || value == NULL) {
        PyErr_Clear();
        return NULL;
    }
    Py_DECREF(value);
    return Py_IS_TYPE(value, &ExecutionType) ? (Execution *)value : NULL;
}

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

/* Operations begin and end ------------------------------------------------------------------------------------------ */

static PyObject *user_in_force(Engine *self, PyObject *user, Execution *parent) {
    if (user != NULL && PyUnicode_GET_LENGTH(user) > 0) return Py_NewRef(user);
    PyObject *value = NULL;
    if (PyContextVar_Get(self->user, NULL, &value) == 0 && value && PyUnicode_Check(value) &&
        PyUnicode_GET_LENGTH(value) > 0)
        return value;
    Py_XDECREF(value);
    return Py_NewRef(parent ? parent->user : self->default_user);
}

static Execution *open_below(Engine *self, PyObject *operation, PyObject *user, Execution *parent) {
    Thread *thread = this_thread();
    Execution *execution = execution_new();
    if (execution == NULL) return NULL;
    execution->id = ++self->number;
    execution->parent_id = parent ? parent->id : 0;
    execution->operation = Py_NewRef(operation);
    execution->user = user_in_force(self, user, parent);
    execution->parent = parent && parent->is_open ? (Execution *)Py_NewRef(parent) : NULL;
    execution->is_open = 1;
    execution->own = (Charge){.tick = self->tick, .owner = thread->serial};
    open_execution(self, thread, execution, parent);
    return execution;
}

static int are_texts(PyObject *operation, PyObject *user) {
    if (operation && PyUnicode_Check(operation) && (user == NULL || PyUnicode_Check(user))) return 1;
    PyErr_SetString(PyExc_TypeError, "operation and user are texts: open(operation: str, user: str = '')");
    return 0;
}

Execution *engine_enter(Engine *self, PyObject *operation, PyObject *user) {
    if (!are_texts(operation, user)) return NULL;
    PyObject *outer = NULL;
    if (PyContextVar_Get(self->current, NULL, &outer) < 0) return NULL;
    Execution *parent = outer && Py_IS_TYPE(outer, &ExecutionType) ? (Execution *)outer : NULL;
    Execution *execution = open_below(self, operation, user, parent);
    if (execution == NULL) {
        Py_XDECREF(outer);
        return NULL;
    }
    execution->outer = outer;
    PyObject *token = PyContextVar_Set(self->current, (PyObject *)execution);
    Py_XDECREF(token);
    if (token == NULL) Py_CLEAR(execution);
    return execution;
}

void engine_leave(Engine *self, Execution *execution) {
    close_execution(self, this_thread(), execution);
    PyObject *outer = execution->outer;
    execution->outer = NULL;
    if (outer && current_execution(self) == execution) { /* else it ends in another context than it began in */
        PyObject *token = PyContextVar_Set(self->current, outer);
        Py_XDECREF(token);
        if (token == NULL) PyErr_Clear();
    }
    Py_XDECREF(outer);
}

static PyObject *engine_open(Engine *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    PyObject *operation = count > 0 ? args[0] : NULL, *user = count > 1 ? args[1] : NULL;
    int is_root = count > 2 ? PyObject_IsTrue(args[2]) : 0;
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); i++) {
        int is_user = PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), "user") == 0;
        if (is_user) user = args[count + i];
        else is_root = PyObject_IsTrue(args[count + i]);
    }
    if (!are_texts(operation, user)) return NULL;
    Execution *execution = open_below(self, operation, user, current_execution(self));
    if (execution) execution->is_root = (char)is_root;
    return (PyObject *)execution;
}

static PyObject *engine_close(Engine *self, PyObject *value) {
    Execution *execution;
    if (!execution_or_none(value, &execution) || execution == NULL) return NULL;
    close_execution(self, this_thread(), execution);
    Py_RETURN_NONE;
}

static PyObject *method_enter(Engine *self, PyObject *const *args, Py_ssize_t count) {
    return (PyObject *)engine_enter(self, count > 0 ? args[0] : NULL, count > 1 ? args[1] : NULL);
}

static PyObject *method_leave(Engine *self, PyObject *value) {
    Execution *execution;
    if (!execution_or_none(value, &execution) || execution == NULL) return NULL;
    engine_leave(self, execution);
    Py_RETURN_NONE;
}

static PyObject *engine_switch(Engine *self, PyObject *value) {
    Execution *execution;
    if (!execution_or_none(value, &execution)) return NULL;
    switch_to(self, execution);
    Py_RETURN_NONE;
}

static PyObject *engine_resume(Engine *self, PyObject *value) {
    Execution *execution;
    if (!execution_or_none(value, &execution) || execution == NULL) return NULL;
    resume_execution(self, this_thread(), execution);
    Py_RETURN_NONE;
}

/* Calls -------------------------------------------------------------------------------------------------------------- */

static PyObject *engine_after_call(Engine *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    if (count < 2 || count > 5) {
        PyErr_SetString(PyExc_TypeError, "after_call(code, started_ns, memory=0, network=0, disk=0)");
        return NULL;
    }
    Thread *thread = this_thread();
    Execution *execution = current_execution(self);
    if (execution == NULL || thread->is_muted || !self->recording.is_on) Py_RETURN_NONE;
    int code = (int)PyLong_AsLong(args[0]);
    int64_t started_ns = PyLong_AsLongLong(args[1]), sizes[3] = {0, 0, 0};
    for (Py_ssize_t i = 2; i < count; i++) sizes[i - 2] = PyLong_AsLongLong(args[i]);
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); i++) {
        Py_UCS4 letter = PyUnicode_READ_CHAR(PyTuple_GET_ITEM(names, i), 0);
        sizes[letter == 'm' ? 0 : letter == 'n' ? 1 : 2] = PyLong_AsLongLong(args[count + i]);
    }
    if (PyErr_Occurred()) return NULL;
    if (code < 0 || code >= CODES) {
        PyErr_Format(PyExc_ValueError, "after_call: code %d is not that of a micro-operation type", code);
        return NULL;
    }
    if (thread->charged != execution) {
        switch_to(self, execution);
        started_ns = thread->elapsed_mark;
    } else if (!atomic_load_explicit(&metercast_times_calls, memory_order_relaxed)) {
        started_ns = UNTIMED;
    } else if (metercast_counter.multiplier) { /* the caller read Python's clock, which this engine's runs along with */
        started_ns += elapsed_clock() - read_clock(CLOCK_MONOTONIC);
    }
    metercast_charge_call(thread, code, started_ns, sizes[0], sizes[1], sizes[2]);
    int is_write = code == DISK_WRITE || code == MEMORY_WRITE;
    thread->moved[is_write] += sizes[0] + sizes[2];
    record_stale(self, thread);
    Py_RETURN_NONE;
}

static PyObject *engine_count(Engine *self, PyObject *args) {
    PyObject *execution, *meter;
    double units;
    if (!PyArg_ParseTuple(args, "O!Ud", &ExecutionType, &execution, &meter, &units)) return NULL;
    recording_append(&self->recording, (Execution *)execution, meter,
                (Record){.ended_ns = elapsed_clock(), .units = units, .code = CUSTOM});
    Py_RETURN_NONE;
}

static PyObject *engine_claim(Engine *self, PyObject *args) {
    PyObject *execution;
    int code;
    long long network;
    if (!PyArg_ParseTuple(args, "O!iL", &ExecutionType, &execution, &code, &network)) return NULL;
    recording_append(&self->recording, (Execution *)execution, NULL,
                (Record){.ended_ns = elapsed_clock(), .network = network, .code = (uint32_t)code});
    Py_RETURN_NONE;
}

static PyObject *engine_checkpoint(Engine *self, PyObject *Py_UNUSED(ignored)) {
    checkpoint(self, this_thread(), current_execution(self));
    Py_RETURN_NONE;
}

static PyObject *engine_charged(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    Thread *thread = this_thread();
    return Py_NewRef(thread->charged ? (PyObject *)thread->charged : Py_None);
}

static PyObject *engine_mute(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    this_thread()->is_muted = 1;
    Py_RETURN_NONE;
}

static PyObject *engine_count_into(Engine *self, PyObject *value) {
    Py_buffer buffer = {0};
    if (value != Py_None && PyObject_GetBuffer(value, &buffer, PyBUF_WRITABLE) < 0) return NULL;
    if (value != Py_None && buffer.len < 8) {
        PyBuffer_Release(&buffer);
        PyErr_Format(PyExc_ValueError, "count_into: a writable buffer of 8 bytes or more is wanted, not %R", value);
        return NULL;
    }
    PyBuffer_Release(&self->recording.counted_in);
    self->recording.counted_in = buffer;
    Py_RETURN_NONE;
}

static PyObject *engine_keep_in(Engine *self, PyObject *args) {
    PyObject *path;
    long long offset_ns, hz;
    if (!PyArg_ParseTuple(args, "O&LL", PyUnicode_FSConverter, &path, &offset_ns, &hz)) return NULL;
    int64_t shift_ns = read_clock(CLOCK_MONOTONIC) - elapsed_clock() + offset_ns;
    const char *source = PyUnicode_AsUTF8(self->source);
    int failed = self->recording.file.descriptor ? 0 : ring_file_open(&self->recording, path, shift_ns, hz, source);
    Py_DECREF(path);
    return failed ? NULL : PyBool_FromLong(1);
}

static PyObject *engine_keep_no_more(Engine *self, PyObject *Py_UNUSED(ignored)) {
    ring_file_close(&self->recording);
    recording_drop_rings(&self->recording);
    Py_RETURN_NONE;
}

static PyObject *engine_intend(Engine *self, PyObject *Py_UNUSED(ignored)) {
    ring_file_intend(&self->recording);
    Py_RETURN_NONE;
}

static PyObject *engine_release(Engine *self, PyObject *Py_UNUSED(ignored)) {
    ring_file_release(&self->recording);
    Py_RETURN_NONE;
}

static PyObject *engine_reset_after_fork(Engine *self, PyObject *Py_UNUSED(ignored)) {
    metercast_forget_forked();
    threads_after_fork(self, current_execution(self)); /* first: another thread may have had its locks */
    recording_after_fork(&self->recording);
    seed_numbers(self);
    Py_RETURN_NONE;
}

/* For the shipper ---------------------------------------------------------------------------------------------------- */

static PyObject *engine_pending(Engine *self, PyObject *Py_UNUSED(ignored)) {
    collect(self);
    return PyLong_FromSsize_t(recording_waiting(&self->recording));
}

static PyObject *engine_recorded(Engine *self, PyObject *Py_UNUSED(ignored)) {
    return PyLong_FromLongLong(self->recording.recorded);
}

static PyObject *engine_take(Engine *self, PyObject *value) {
    Py_ssize_t limit = PyLong_AsSsize_t(value);
    if (limit == -1 && PyErr_Occurred()) return NULL;
    return recording_take(&self->recording, limit, read_clock(CLOCK_MONOTONIC) - elapsed_clock());
}

static PyObject *engine_take_rows(Engine *self, PyObject *args) {
    Py_ssize_t limit;
    long long offset_ns, hz;
    PyObject *source;
    int folds = 1;
    if (!PyArg_ParseTuple(args, "nLLU|p", &limit, &offset_ns, &hz, &source, &folds)) return NULL;
    int64_t shift_ns = read_clock(CLOCK_MONOTONIC) - elapsed_clock() + offset_ns;
    return recording_take_rows(&self->recording, limit, shift_ns, hz, source, folds);
}

static PyObject *engine_take_totals(Engine *self, PyObject *Py_UNUSED(ignored)) {
    return recording_take_totals(&self->recording);
}

static PyObject *engine_calls(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    return PyLong_FromLongLong(threads_calls());
}

static PyObject *engine_attributed_ns(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    return PyLong_FromLongLong(threads_attributed_ns());
}

static PyObject *engine_moved(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    int64_t moved[2];
    threads_moved(moved);
    return Py_BuildValue("(LL)", (long long)moved[0], (long long)moved[1]);
}

static PyObject *engine_unexplained(Engine *Py_UNUSED(self), PyObject *is_ending) {
    int64_t bytes[2];
    int ends = PyObject_IsTrue(is_ending);
    Py_BEGIN_ALLOW_THREADS
    metercast_unexplained(ends, bytes);
    Py_END_ALLOW_THREADS
    return Py_BuildValue("(LL)", (long long)bytes[0], (long long)bytes[1]);
}

static PyObject *engine_intercept(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    return PyBool_FromLong(metercast_intercept());
}

static PyObject *engine_count_allocations(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    metercast_count_allocations();
    Py_RETURN_TRUE;
}

static PyObject *engine_count_cycles(Engine *self, PyObject *args) {
    const char *event;
    int needs_page;
    long long hz;
    if (!PyArg_ParseTuple(args, "spL", &event, &needs_page, &hz)) return NULL;
    const char *source = hz > 0 ? counters_choose(event, needs_page, hz) : NULL;
    if (source == NULL) return PyErr_SetFromErrno(PyExc_OSError);
    Py_XSETREF(self->source, PyUnicode_InternFromString(source));
    return Py_XNewRef(self->source);
}

static PyObject *engine_count_numpy(Engine *Py_UNUSED(self), PyObject *table) {
    if (metercast_count_numpy(table) < 0) return NULL;
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
