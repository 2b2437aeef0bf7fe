/* Methods of the engine, as Python calls them; metercast/engine.py says what each does. */
#ifndef METERCAST_ENGINE_METHODS_H
#define METERCAST_ENGINE_METHODS_H

#include "engine.h"

/* operations.c */
PyObject *engine_open(Engine *self, PyObject *const *args, Py_ssize_t count, PyObject *names);
PyObject *engine_close(Engine *self, PyObject *value);
PyObject *method_enter(Engine *self, PyObject *const *args, Py_ssize_t count);
PyObject *method_leave(Engine *self, PyObject *value);
PyObject *engine_switch(Engine *self, PyObject *value);
PyObject *engine_resume(Engine *self, PyObject *value);
PyObject *engine_after_call(Engine *self, PyObject *const *args, Py_ssize_t count, PyObject *names);
PyObject *engine_count(Engine *self, PyObject *args);
PyObject *engine_claim(Engine *self, PyObject *args);
PyObject *engine_checkpoint(Engine *self, PyObject *ignored);
PyObject *engine_charged(Engine *self, PyObject *ignored);

/* shipping.c */
PyObject *engine_mute(Engine *self, PyObject *ignored);
PyObject *engine_count_into(Engine *self, PyObject *value);
PyObject *engine_keep_in(Engine *self, PyObject *args);
PyObject *engine_keep_no_more(Engine *self, PyObject *ignored);
PyObject *engine_intend(Engine *self, PyObject *ignored);
PyObject *engine_release(Engine *self, PyObject *ignored);
PyObject *engine_pending(Engine *self, PyObject *ignored);
PyObject *engine_recorded(Engine *self, PyObject *ignored);
PyObject *engine_take(Engine *self, PyObject *value);
PyObject *engine_take_rows(Engine *self, PyObject *args);
PyObject *engine_take_totals(Engine *self, PyObject *ignored);
PyObject *engine_calls(Engine *self, PyObject *ignored);
PyObject *engine_attributed_ns(Engine *self, PyObject *ignored);
PyObject *engine_moved(Engine *self, PyObject *ignored);
PyObject *engine_unexplained(Engine *self, PyObject *is_ending);
PyObject *engine_intercept(Engine *self, PyObject *ignored);
PyObject *engine_count_allocations(Engine *self, PyObject *ignored);
PyObject *engine_count_cycles(Engine *self, PyObject *args);
PyObject *engine_count_numpy(Engine *self, PyObject *table);

#endif
