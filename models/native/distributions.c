/* Distributions: read off points with masses, put in order, and compared with what came.
 *
 * See models/mixing.py and models/quantiles.py.
 */
#include "kernels.h"

/* The mean pinball loss of each window that is known, added to the sum of its series one by one. */
PyObject *pinball_sums(PyObject *self, PyObject *args) {
    PyObject *from[4];
    Py_buffer views[4];
    Py_ssize_t series, horizon, size;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOnn", &from[0], &from[1], &from[2], &from[3], &series, &horizon)) return NULL;
    size = PyObject_Length(from[2]);
    if (series < 0 || horizon < 0 || size < 1) return PyErr_Format(PyExc_ValueError, "%zd levels", size);
    const Wanted wanted[4] = {{8, series * horizon * size, 0, "forecasts"},
                              {8, series * horizon, 0, "actual"},
                              {8, size, 0, "levels"},
                              {8, series, 1, "out"}};
    if (!hold(from, views, wanted, 4)) return NULL;
    const double *forecast = views[0].buf, *actual = views[1].buf, *levels = views[2].buf;
    double *out = views[3].buf;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t row = 0; row < series; row++) {
        double sum = out[row];
        for (Py_ssize_t at = row * horizon; at < (row + 1) * horizon; at++) {
            if (!isfinite(actual[at])) continue;
            double loss = 0;
            for (Py_ssize_t place = 0; place < size; place++) {
                double error = actual[at] - forecast[at * size + place];
                loss += error > 0 ? levels[place] * error : (levels[place] - 1) * error;
            }
            sum += loss / (double)size;
        }
        out[row] = sum;
    }
    Py_END_ALLOW_THREADS
    let_go(views, 4);
    Py_RETURN_NONE;
}

/* The smallest points up to which there is as much mass as each level asks for. */
static void read_points(const double *values, const uint8_t *kinds, Py_ssize_t points, const double *mass,
                        const double *levels, Py_ssize_t size, double *out) {
    double reached = 0;
    Py_ssize_t wanted = 0;
    for (Py_ssize_t point = 0; point < points && wanted < size; point++) {
        reached += mass[kinds[point]];
        while (wanted < size && reached >= levels[wanted] - 1e-9) out[wanted++] = values[point];
    }
    for (; wanted < size; wanted++) out[wanted] = values[points - 1];
}

PyObject *point_quantiles(PyObject *self, PyObject *args) {
    PyObject *from[5];
    Py_buffer views[5];
    Py_ssize_t series, points, horizon, kinds, size;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOOnnnn", &from[0], &from[1], &from[2], &from[3], &from[4], &series, &points, &horizon,
                          &kinds))
        return NULL;
    size = PyObject_Length(from[3]);
    if (series < 0 || points < 1 || horizon < 0 || kinds < 1 || size < 1)
        return PyErr_Format(PyExc_ValueError, "%zd points of %zd kinds", points, kinds);
    const Wanted wanted[5] = {{8, series * points, 0, "values"},
                              {1, series * points, 0, "kinds"},
                              {8, series * horizon * kinds, 0, "mass"},
                              {8, size, 0, "levels"},
                              {8, series * horizon * size, 1, "out"}};
    if (!hold(from, views, wanted, 5)) return NULL;
    const double *values = views[0].buf, *mass = views[2].buf, *levels = views[3].buf;
    const uint8_t *kind = views[1].buf;
    double *out = views[4].buf;
    int fits = 1;
    for (Py_ssize_t at = 0; at < series * points && fits; at++) fits = kind[at] < kinds;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t row = 0; row < series; row++)
            for (Py_ssize_t at = row * horizon; at < (row + 1) * horizon; at++)
                read_points(values + row * points, kind + row * points, points, mass + at * kinds, levels, size,
                            out + at * size);
        Py_END_ALLOW_THREADS
    } else PyErr_Format(PyExc_ValueError, "a kind that is not below %zd", kinds);
    let_go(views, 5);
    return fits ? Py_NewRef(Py_None) : NULL;
}

/* Rows made finite, non-negative and rising, where they lie; by insertion, as they nearly always rise already. */
void tidy_rows(double *rows, Py_ssize_t count, Py_ssize_t size) {
    for (Py_ssize_t row = 0; row < count; row++) {
        double *values = rows + row * size;
        for (Py_ssize_t at = 0; at < size; at++) {
            double value = isfinite(values[at]) && values[at] > 0 ? values[at] : 0;
            Py_ssize_t to = at;
            for (; to > 0 && values[to - 1] > value; to--) values[to] = values[to - 1];
            values[to] = value;
        }
    }
}

PyObject *tidy(PyObject *self, PyObject *args) {
    PyObject *from[1];
    Py_buffer views[1];
    Py_ssize_t rows, size;
    (void)self;
    if (!PyArg_ParseTuple(args, "Onn", &from[0], &rows, &size)) return NULL;
    const Wanted wanted[1] = {{8, rows * size, 1, "quantiles"}};
    if (!hold(from, views, wanted, 1)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    tidy_rows(views[0].buf, rows, size);
    Py_END_ALLOW_THREADS
    let_go(views, 1);
    Py_RETURN_NONE;
}
