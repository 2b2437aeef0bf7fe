/* Distributions: mixed, read off points with masses, put in order, and compared with what came.
 *
 * See models/mixing.py and models/quantiles.py.
 */
#include "kernels.h"

/* Values in rising order, each with its mass; one more behind the last that no value exceeds. */
typedef struct {
    double value[MOST_MEMBERS * MOST_LEVELS + 1], mass[MOST_MEMBERS * MOST_LEVELS + 1];
    int count;
} Ranked;

static void take(Ranked *ranked, const double *list, double share, Py_ssize_t size) {
    memcpy(ranked->value, list, sizeof(double) * (size_t)size);
    for (Py_ssize_t at = 0; at < size; at++) ranked->mass[at] = share;
    ranked->value[size] = INFINITY;
    ranked->count = (int)size;
}

/* Without a branch on the values, which would be guessed wrong every second time. */
static void merge(const Ranked *one, const Ranked *two, Ranked *out) {
    int i = 0, j = 0;
    out->count = one->count + two->count;
    for (int at = 0; at < out->count; at++) {
        const int second = two->value[j] < one->value[i];
        out->value[at] = second ? two->value[j] : one->value[i];
        out->mass[at] = second ? two->mass[j] : one->mass[i];
        j += second;
        i += !second;
    }
    out->value[out->count] = INFINITY;
}

/* The quantiles of what ``ranked`` says, between the middles of its masses, at (k + 1/2) / size. */
static void read_ranked(const Ranked *ranked, Py_ssize_t size, double *out) {
    double reached = 0, before = 0;
    Py_ssize_t wanted = 0;
    double level = 0.5 / (double)size;
    for (int at = 0; at < ranked->count && wanted < size; at++) {
        const double middle = reached + ranked->mass[at] / 2, value = ranked->value[at];
        reached += ranked->mass[at];
        while (wanted < size && level <= middle) {
            const double gap = middle - before, part = (level - before) / (gap > 1e-12 ? gap : 1e-12);
            const double below = at ? ranked->value[at - 1] : value;
            out[wanted++] = below + (part < 0 ? 0 : part > 1 ? 1 : part) * (value - below);
            level = ((double)wanted + 0.5) / (double)size;
        }
        before = middle;
    }
    for (; wanted < size; wanted++) out[wanted] = ranked->value[ranked->count - 1];
}

/* Quantiles of a mixture for one window: ``lists`` rising lists of ``size`` values, each value with its list's share. */
static void mix(const double *const *list, const double *share, int lists, Py_ssize_t size, double *out) {
    Ranked single, ranked[2];
    int now = 0;
    take(&ranked[0], list[0], share[0], size);
    for (int one = 1; one < lists; one++, now = !now) {
        take(&single, list[one], share[one], size);
        merge(&ranked[now], &single, &ranked[!now]);
    }
    read_ranked(&ranked[now], size, out);
}

static void mix_all(const double *points, const double *weight, double *out, const Py_ssize_t *sizes) {
    const Py_ssize_t series = sizes[0], members = sizes[1], horizon = sizes[2], size = sizes[3];
    for (Py_ssize_t row = 0; row < series; row++) {
        double share[MOST_MEMBERS];
        Py_ssize_t place[MOST_MEMBERS];
        int lists = 0;
        for (Py_ssize_t one = 0; one < members; one++)
            if (weight[row * members + one] > 0) {
                share[lists] = weight[row * members + one] / (double)size;
                place[lists++] = one;
            }
        for (Py_ssize_t step = 0; step < horizon; step++) {
            const double *list[MOST_MEMBERS];
            for (int one = 0; one < lists; one++)
                list[one] = points + ((row * members + place[one]) * horizon + step) * size;
            double *to = out + (row * horizon + step) * size;
            if (lists == 1) memcpy(to, list[0], sizeof(double) * (size_t)size);
            else mix(list, share, lists, size, to);
        }
    }
}

PyObject *mixture(PyObject *self, PyObject *args) {
    PyObject *from[3];
    Py_buffer views[3];
    Py_ssize_t n[4];
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOnnnn", &from[0], &from[1], &from[2], &n[0], &n[1], &n[2], &n[3])) return NULL;
    if (n[1] < 1 || n[1] > MOST_MEMBERS || n[0] < 0 || n[2] < 0 || n[3] < 1 || n[3] > MOST_LEVELS)
        return PyErr_Format(PyExc_ValueError, "%zd members; between 1 and %d are allowed", n[1], MOST_MEMBERS);
    const Wanted wanted[3] = {{8, n[0] * n[1] * n[2] * n[3], 0, "forecasts"},
                              {8, n[0] * n[1], 0, "weights"},
                              {8, n[0] * n[2] * n[3], 1, "out"}};
    if (!hold(from, views, wanted, 3)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    mix_all(views[0].buf, views[1].buf, views[2].buf, n);
    Py_END_ALLOW_THREADS
    let_go(views, 3);
    Py_RETURN_NONE;
}

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
