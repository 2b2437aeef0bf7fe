/* Methods of the engine that programs and hooks call: operations begin and end, calls are charged. */
#include "engine_methods.h"

Execution *current_execution(Engine *self) {
    PyObject *value = NULL;
    if (PyContextVar_Get(self->current, NULL, &value) < 0 || value == NULL) {
        PyErr_Clear();
        return NULL;
    }
    Py_DECREF(value);
    return Py_IS_TYPE(value, &ExecutionType) ? (Execution *)value : NULL;
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

PyObject *engine_open(Engine *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
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

PyObject *engine_close(Engine *self, PyObject *value) {
    Execution *execution;
    if (!execution_or_none(value, &execution) || execution == NULL) return NULL;
    close_execution(self, this_thread(), execution);
    Py_RETURN_NONE;
}

PyObject *method_enter(Engine *self, PyObject *const *args, Py_ssize_t count) {
    return (PyObject *)engine_enter(self, count > 0 ? args[0] : NULL, count > 1 ? args[1] : NULL);
}

PyObject *method_leave(Engine *self, PyObject *value) {
    Execution *execution;
    if (!execution_or_none(value, &execution) || execution == NULL) return NULL;
    engine_leave(self, execution);
    Py_RETURN_NONE;
}

PyObject *engine_switch(Engine *self, PyObject *value) {
    Execution *execution;
    if (!execution_or_none(value, &execution)) return NULL;
    switch_to(self, execution);
    Py_RETURN_NONE;
}

PyObject *engine_resume(Engine *self, PyObject *value) {
    Execution *execution;
    if (!execution_or_none(value, &execution) || execution == NULL) return NULL;
    resume_execution(self, this_thread(), execution);
    Py_RETURN_NONE;
}

/* Calls -------------------------------------------------------------------------------------------------------------- */

PyObject *engine_after_call(Engine *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
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

PyObject *engine_count(Engine *self, PyObject *args) {
    PyObject *execution, *meter;
    double units;
    if (!PyArg_ParseTuple(args, "O!Ud", &ExecutionType, &execution, &meter, &units)) return NULL;
    recording_append(&self->recording, (Execution *)execution, meter,
                (Record){.ended_ns = elapsed_clock(), .units = units, .code = CUSTOM});
    Py_RETURN_NONE;
}

PyObject *engine_claim(Engine *self, PyObject *args) {
    PyObject *execution;
    int code;
    long long network;
    if (!PyArg_ParseTuple(args, "O!iL", &ExecutionType, &execution, &code, &network)) return NULL;
    recording_append(&self->recording, (Execution *)execution, NULL,
                (Record){.ended_ns = elapsed_clock(), .network = network, .code = (uint32_t)code});
    Py_RETURN_NONE;
}

PyObject *engine_checkpoint(Engine *self, PyObject *Py_UNUSED(ignored)) {
    checkpoint(self, this_thread(), current_execution(self));
    Py_RETURN_NONE;
}

PyObject *engine_charged(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    Thread *thread = this_thread();
    return Py_NewRef(thread->charged ? (PyObject *)thread->charged : Py_None);
}
