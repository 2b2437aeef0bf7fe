/* Methods of the engine that the shipper calls, and that choose what is counted. */
#include "engine_methods.h"

PyObject *engine_mute(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    this_thread()->is_muted = 1;
    Py_RETURN_NONE;
}

PyObject *engine_count_into(Engine *self, PyObject *value) {
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

PyObject *engine_keep_in(Engine *self, PyObject *args) {
    PyObject *path;
    long long offset_ns, hz;
    if (!PyArg_ParseTuple(args, "O&LL", PyUnicode_FSConverter, &path, &offset_ns, &hz)) return NULL;
    int64_t shift_ns = read_clock(CLOCK_MONOTONIC) - elapsed_clock() + offset_ns;
    const char *source = PyUnicode_AsUTF8(self->source);
    int failed = self->recording.file.descriptor ? 0 : ring_file_open(&self->recording, path, shift_ns, hz, source);
    Py_DECREF(path);
    return failed ? NULL : PyBool_FromLong(1);
}

PyObject *engine_keep_no_more(Engine *self, PyObject *Py_UNUSED(ignored)) {
    ring_file_close(&self->recording);
    recording_drop_rings(&self->recording);
    Py_RETURN_NONE;
}

PyObject *engine_intend(Engine *self, PyObject *Py_UNUSED(ignored)) {
    ring_file_intend(&self->recording);
    Py_RETURN_NONE;
}

PyObject *engine_release(Engine *self, PyObject *Py_UNUSED(ignored)) {
    ring_file_release(&self->recording);
    Py_RETURN_NONE;
}

PyObject *engine_pending(Engine *self, PyObject *Py_UNUSED(ignored)) {
    collect(self);
    return PyLong_FromSsize_t(recording_waiting(&self->recording));
}

PyObject *engine_recorded(Engine *self, PyObject *Py_UNUSED(ignored)) {
    return PyLong_FromLongLong(self->recording.recorded);
}

PyObject *engine_take(Engine *self, PyObject *value) {
    Py_ssize_t limit = PyLong_AsSsize_t(value);
    if (limit == -1 && PyErr_Occurred()) return NULL;
    return recording_take(&self->recording, limit, read_clock(CLOCK_MONOTONIC) - elapsed_clock());
}

PyObject *engine_take_rows(Engine *self, PyObject *args) {
    Py_ssize_t limit;
    long long offset_ns, hz;
    PyObject *source;
    int folds = 1;
    if (!PyArg_ParseTuple(args, "nLLU|p", &limit, &offset_ns, &hz, &source, &folds)) return NULL;
    int64_t shift_ns = read_clock(CLOCK_MONOTONIC) - elapsed_clock() + offset_ns;
    return recording_take_rows(&self->recording, limit, shift_ns, hz, source, folds);
}

PyObject *engine_take_totals(Engine *self, PyObject *Py_UNUSED(ignored)) {
    return recording_take_totals(&self->recording);
}

PyObject *engine_calls(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    return PyLong_FromLongLong(threads_calls());
}

PyObject *engine_attributed_ns(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    return PyLong_FromLongLong(threads_attributed_ns());
}

PyObject *engine_moved(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    int64_t moved[2];
    threads_moved(moved);
    return Py_BuildValue("(LL)", (long long)moved[0], (long long)moved[1]);
}

PyObject *engine_unexplained(Engine *Py_UNUSED(self), PyObject *is_ending) {
    int64_t bytes[2];
    int ends = PyObject_IsTrue(is_ending);
    Py_BEGIN_ALLOW_THREADS
    metercast_unexplained(ends, bytes);
    Py_END_ALLOW_THREADS
    return Py_BuildValue("(LL)", (long long)bytes[0], (long long)bytes[1]);
}

PyObject *engine_intercept(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    return PyBool_FromLong(metercast_intercept());
}

PyObject *engine_count_allocations(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    metercast_count_allocations();
    Py_RETURN_TRUE;
}

PyObject *engine_count_cycles(Engine *self, PyObject *args) {
    const char *event;
    int needs_page;
    long long hz;
    if (!PyArg_ParseTuple(args, "spL", &event, &needs_page, &hz)) return NULL;
    const char *source = hz > 0 ? counters_choose(event, needs_page, hz) : NULL;
    if (source == NULL) return PyErr_SetFromErrno(PyExc_OSError);
    Py_XSETREF(self->source, PyUnicode_InternFromString(source));
    return Py_XNewRef(self->source);
}

PyObject *engine_count_numpy(Engine *Py_UNUSED(self), PyObject *table) {
    if (metercast_count_numpy(table) < 0) return NULL;
    Py_RETURN_NONE;
}
