/* A sum of dependent steps, and a regime of standing still laid over them: see models/dependence.py, models/regimes.py. */
#include "kernels.h"

/* Quantiles of the sum over one series' steps (horizon, levels), whose distances shrink as the dependence says. */
static void sum_up(const double *steps, Py_ssize_t horizon, Py_ssize_t levels, double level, double memory, double *out) {
    double together[MOST_LEVELS] = {0}, upper = 0, carried = 0, near = 0, before = 0, mean = 0;
    for (Py_ssize_t step = 0; step < horizon; step++) {
        const double *quantile = steps + step * levels;
        double sum = 0, squares = 0;
        for (Py_ssize_t at = 0; at < levels; at++) together[at] += quantile[at], sum += quantile[at];
        sum /= (double)levels;
        for (Py_ssize_t at = 0; at < levels; at++) squares += (quantile[at] - sum) * (quantile[at] - sum);
        const double spread = sqrt(squares / (double)levels);
        carried = memory * (carried + before);
        near += spread * spread + 2 * carried * spread;
        upper += spread;
        before = spread;
    }
    const double ratio = upper > 0 ? sqrt(level * upper * upper + (1 - level) * near) / upper : 1;
    for (Py_ssize_t at = 0; at < levels; at++) mean += together[at] / (double)levels;
    for (Py_ssize_t at = 0; at < levels; at++) {
        const double value = mean + ratio * (together[at] - together[levels / 2]);
        out[at] = value > 0 ? value : 0;
    }
}

PyObject *total_quantiles(PyObject *self, PyObject *args) {
    PyObject *from[2];
    Py_buffer views[2];
    Py_ssize_t series, horizon, levels;
    double level, memory;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOnnndd", &from[0], &from[1], &series, &horizon, &levels, &level, &memory)) return NULL;
    if (series < 0 || horizon < 0 || levels < 1 || levels > MOST_LEVELS)
        return PyErr_Format(PyExc_ValueError, "%zd levels; between 1 and %d are allowed", levels, MOST_LEVELS);
    const Wanted wanted[2] = {{8, series * horizon * levels, 0, "steps"}, {8, series * levels, 1, "out"}};
    if (!hold(from, views, wanted, 2)) return NULL;
    const double *steps = views[0].buf;
    double *out = views[1].buf;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t row = 0; row < series; row++)
        sum_up(steps + row * horizon * levels, horizon, levels, level, memory, out + row * levels);
    Py_END_ALLOW_THREADS
    let_go(views, 2);
    Py_RETURN_NONE;
}

/* The value at a level of a distribution that is given by quantiles, as in models/quantiles.py. */
static double value_at(const double *quantile, const double *levels, Py_ssize_t size, double level) {
    const double low = levels[0], width = levels[1] - low, high = levels[size - 1];
    double value;
    if (level > high)
        value = quantile[size - 1] + (quantile[size - 1] - quantile[size - 2]) * log((1 - high) / (1 - level)) /
                                         log((1 - levels[size - 2]) / (1 - high));
    else if (level < low) value = quantile[0] - (quantile[1] - quantile[0]) * log(low / level) / log(levels[1] / low);
    else {
        const double place = (level - low) / width;
        const Py_ssize_t index = (Py_ssize_t)place < size - 2 ? (Py_ssize_t)place : size - 2;
        const double part = place - (double)index < 1 ? place - (double)index : 1;
        value = quantile[index] + part * (quantile[index + 1] - quantile[index]);
    }
    return value > 0 ? value : 0;
}

/* One step: `value` with `chance`, else what the quantiles say, which are asked for no level beyond `outer`. */
static void hold_still(double *quantile, const double *levels, Py_ssize_t size, double chance, double value, double outer) {
    double found[MOST_LEVELS];
    Py_ssize_t count = 0;
    for (Py_ssize_t at = 0; at < size; at++) count += quantile[at] < value;
    const double below = count == 0 ? 0 : count == size ? 1 : ((double)count + 0.5) / (double)(size + 1);
    const double free = 1 - chance > 1e-9 ? 1 - chance : 1e-9, low = (1 - chance) * below;
    for (Py_ssize_t at = 0; at < size; at++) {
        const double moved = (levels[at] < low ? levels[at] : levels[at] - chance) / free;
        const double level = moved < outer ? outer : moved > 1 - outer ? 1 - outer : moved;
        const int inside = levels[at] >= low && levels[at] <= low + chance;
        found[at] = inside ? value : value_at(quantile, levels, size, level);
    }
    memcpy(quantile, found, sizeof(double) * (size_t)size);
}

PyObject *with_regime(PyObject *self, PyObject *args) {
    PyObject *from[4];
    Py_buffer views[4];
    Py_ssize_t series, horizon, size;
    double outer;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOnnd", &from[0], &from[1], &from[2], &from[3], &series, &horizon, &outer)) return NULL;
    size = PyObject_Length(from[3]);
    if (series < 0 || horizon < 0 || size < 2 || size > MOST_LEVELS || !(outer > 0 && outer < 0.5))
        return PyErr_Format(PyExc_ValueError, "%zd levels; between 2 and %d are allowed", size, MOST_LEVELS);
    const Wanted wanted[4] = {{8, series * horizon * size, 1, "steps"},
                              {8, series * horizon, 0, "chance"},
                              {8, series, 0, "value"},
                              {8, size, 0, "levels"}};
    if (!hold(from, views, wanted, 4)) return NULL;
    double *steps = views[0].buf;
    const double *chance = views[1].buf, *value = views[2].buf, *levels = views[3].buf;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t row = 0; row < series; row++) {
        int held = 0;
        for (Py_ssize_t at = row * horizon; at < (row + 1) * horizon; at++) held |= chance[at] > 0;
        if (!held) continue;
        for (Py_ssize_t at = row * horizon; at < (row + 1) * horizon; at++)
            hold_still(steps + at * size, levels, size, chance[at], value[row], outer);
        tidy_rows(steps + row * horizon * size, horizon, size);
    }
    Py_END_ALLOW_THREADS
    let_go(views, 4);
    Py_RETURN_NONE;
}
