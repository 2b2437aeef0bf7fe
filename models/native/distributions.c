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

#define LANES 8 /* steps at a time */
#define MOST_POINTS 256
#define MOST_STATES 32

typedef struct {
    const double *values;         /* (series, points), rising */
    const uint8_t *kinds;         /* (series, points), `states` for the value that is stood at */
    const double *moving, *still; /* (series, horizon, states), (series, horizon) */
    const double *levels;
    double *out; /* (series, horizon, size) */
    Py_ssize_t series, points, horizon, states, size;
    double share; /* of a state's chance that each of its points has */
} Points;

/* The smallest points up to which there is as much mass as each level asks for, of LANES steps from ``first`` on. */
WIDE static void read_points(const Points *p, Py_ssize_t row, Py_ssize_t first) {
    double mass[MOST_STATES + 1][LANES], reached[MOST_POINTS][LANES], sum[LANES] = {0};
    const double *values = p->values + row * p->points;
    const Py_ssize_t here = p->horizon - first < LANES ? p->horizon - first : LANES;
    for (Py_ssize_t lane = 0; lane < LANES; lane++) {
        const Py_ssize_t at = row * p->horizon + first + (lane < here ? lane : 0);
        const double free = p->share * (1 - p->still[at]);
        for (Py_ssize_t state = 0; state < p->states; state++) mass[state][lane] = free * p->moving[at * p->states + state];
        mass[p->states][lane] = p->still[at];
    }
    for (Py_ssize_t point = 0; point < p->points; point++) {
        const double *more = mass[p->kinds[row * p->points + point]];
        for (int lane = 0; lane < LANES; lane++) sum[lane] += more[lane];
        memcpy(reached[point], sum, sizeof sum);
    }
    for (Py_ssize_t place = 0; place < p->size; place++) {
        const double wanted = p->levels[place] - 1e-9;
        int64_t below[LANES] = {0};
        for (Py_ssize_t point = 0; point < p->points - 1; point++)
            for (int lane = 0; lane < LANES; lane++) below[lane] += reached[point][lane] < wanted;
        for (Py_ssize_t lane = 0; lane < here; lane++)
            p->out[(row * p->horizon + first + lane) * p->size + place] = values[below[lane]];
    }
}

PyObject *point_quantiles(PyObject *self, PyObject *args) {
    PyObject *from[6];
    Py_buffer views[6];
    Points p;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOOOnnnnd", &from[0], &from[1], &from[2], &from[3], &from[4], &from[5], &p.series,
                          &p.points, &p.horizon, &p.states, &p.share))
        return NULL;
    p.size = PyObject_Length(from[4]);
    if (p.series < 0 || p.points < 1 || p.points > MOST_POINTS || p.horizon < 0 || p.states < 1 ||
        p.states > MOST_STATES || p.size < 1)
        return PyErr_Format(PyExc_ValueError, "%zd points of %zd states", p.points, p.states);
    const Wanted wanted[6] = {{8, p.series * p.points, 0, "values"},
                              {1, p.series * p.points, 0, "kinds"},
                              {8, p.series * p.horizon * p.states, 0, "moving"},
                              {8, p.series * p.horizon, 0, "still"},
                              {8, p.size, 0, "levels"},
                              {8, p.series * p.horizon * p.size, 1, "out"}};
    if (!hold(from, views, wanted, 6)) return NULL;
    p.values = views[0].buf, p.kinds = views[1].buf, p.moving = views[2].buf, p.still = views[3].buf;
    p.levels = views[4].buf, p.out = views[5].buf;
    int fits = 1;
    for (Py_ssize_t at = 0; at < p.series * p.points && fits; at++) fits = p.kinds[at] <= p.states;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t row = 0; row < p.series; row++)
            for (Py_ssize_t first = 0; first < p.horizon; first += LANES) read_points(&p, row, first);
        Py_END_ALLOW_THREADS
    } else PyErr_Format(PyExc_ValueError, "a kind that is above %zd", p.states);
    let_go(views, 6);
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
