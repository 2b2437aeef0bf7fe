/* What the compiled inner loops of forecasting share.
 *
 * Every function has a twin in Python, which is used where this was not compiled and says what is computed. All arrays are
 * contiguous; sizes are checked, so that a wrong call raises and never writes elsewhere. The lock of the interpreter is
 * let go while computing.
 */
#ifndef METERCAST_KERNELS_H
#define METERCAST_KERNELS_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A function is compiled twice, for any processor and for those with vectors of 256 bits that multiply and add at once. */
#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12 && defined(__x86_64__) && defined(__linux__)
#define WIDE __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define WIDE
#endif

#define MOST_MEMBERS 8
#define MOST_LEVELS 16

/* An array of the caller: the item's size, how many there must be, whether it is written to, its name in messages. */
typedef struct {
    Py_ssize_t item_bytes, count;
    int writable;
    const char *name;
} Wanted;

/* The buffers of ``count`` objects, or an exception and 0. */
int hold(PyObject *const *from, Py_buffer *views, const Wanted *wanted, int count);
void let_go(Py_buffer *views, int count);
void tidy_rows(double *rows, Py_ssize_t count, Py_ssize_t size);

PyObject *weighted_quantiles(PyObject *self, PyObject *args);
PyObject *binned(PyObject *self, PyObject *args);
PyObject *mixture(PyObject *self, PyObject *args);
PyObject *point_quantiles(PyObject *self, PyObject *args);
PyObject *tidy(PyObject *self, PyObject *args);
PyObject *pinball_sums(PyObject *self, PyObject *args);
PyObject *path_values(PyObject *self, PyObject *args);
PyObject *chains(PyObject *self, PyObject *args);
PyObject *area_of(PyObject *self, PyObject *args);
PyObject *normalised(PyObject *self, PyObject *args);
PyObject *guesses(PyObject *self, PyObject *args);
PyObject *on_scale(PyObject *self, PyObject *args);
PyObject *add_normal(PyObject *self, PyObject *args);
PyObject *standing(PyObject *self, PyObject *args);
PyObject *unusual(PyObject *self, PyObject *args);
PyObject *states_of(PyObject *self, PyObject *args);
PyObject *state_chances(PyObject *self, PyObject *args);
PyObject *with_regime(PyObject *self, PyObject *args);
PyObject *total_quantiles(PyObject *self, PyObject *args);
PyObject *level_opinions(PyObject *self, PyObject *args);
PyObject *missed_sums(PyObject *self, PyObject *args);
PyObject *unscaled(PyObject *self, PyObject *args);
PyObject *gelu_of(PyObject *self, PyObject *args);
PyObject *lstm_cell(PyObject *self, PyObject *args);
PyObject *quantile_heads(PyObject *self, PyObject *args);

#endif
