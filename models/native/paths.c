/* Sample paths: dependent levels of probability and the values at them; see models/paths.py. */
#include "kernels.h"

/* The normal distribution function by a table of it and its density, cubic in between: off by less than 1e-9. */
#define REACH 8
#define STEPS_PER_ONE 64
#define KNOTS (2 * REACH * STEPS_PER_ONE + 1)
static double table[KNOTS][2];

void fill_normal_table(void) {
    for (int knot = 0; knot < KNOTS; knot++) {
        double z = (double)knot / STEPS_PER_ONE - REACH;
        table[knot][0] = 0.5 * erfc(-z / sqrt(2.0));
        table[knot][1] = exp(-z * z / 2) / sqrt(2 * 3.14159265358979323846) / STEPS_PER_ONE;
    }
}

static inline double normal_share(double z) {
    double at = (z + REACH) * STEPS_PER_ONE;
    if (!(at > 0)) return table[0][0];
    if (at >= KNOTS - 1) return table[KNOTS - 1][0];
    int knot = (int)at;
    double t = at - knot, rise = table[knot + 1][0] - table[knot][0];
    double a = table[knot][1] - rise, b = rise - table[knot + 1][1];
    return table[knot][0] + t * (rise + (1 - t) * (a * (1 - t) + b * t));
}

typedef struct {
    const double *steps;  /* (series, horizon, levels) */
    const double *levels; /* rising, equally far apart */
    const int64_t *tenant; /* (series) */
    const double *own_level, *tenant_level;  /* (count, series), (count, tenants) */
    const float *own_noise, *tenant_noise; /* (count, series, horizon), (count, tenants, horizon) */
    double *out; /* (count, series, horizon) */
    Py_ssize_t count, series, tenants, horizon, size;
    double level, memory, share;
    double lower, upper; /* logarithms of the ratios of the outer two levels, of what is below and above them */
} Paths;

/* The value at a level of probability: linear between quantiles, exponential tails beyond them, never below zero. */
static inline double value_of(const Paths *p, const double *quantiles, double level) {
    const double tiny = 1e-4, low = p->levels[0], high = p->levels[p->size - 1];
    const Py_ssize_t last = p->size - 1;
    double value;
    if (level < low) {
        double slope = (quantiles[1] - quantiles[0]) / p->lower;
        value = slope > 0 ? quantiles[0] - slope * log(low / (level > tiny ? level : tiny)) : quantiles[0];
    } else if (level > high) {
        double slope = (quantiles[last] - quantiles[last - 1]) / p->upper, rest = 1 - level;
        value = slope > 0 ? quantiles[last] + slope * log((1 - high) / (rest > tiny ? rest : tiny)) : quantiles[last];
    } else {
        double place = (level - low) / (p->levels[1] - low);
        Py_ssize_t index = (Py_ssize_t)place < last - 1 ? (Py_ssize_t)place : last - 1;
        double part = place - (double)index;
        value = quantiles[index] + (part > 1 ? 1 : part) * (quantiles[index + 1] - quantiles[index]);
    }
    return value > 0 ? value : 0;
}

static void draw(Paths *p) {
    const double fresh = sqrt(1 - p->memory * p->memory), kept = sqrt(p->level), rest = sqrt(1 - p->level);
    const double common = sqrt(p->share), own = sqrt(1 - p->share);
    p->lower = log(p->levels[1] / p->levels[0]);
    p->upper = log((1 - p->levels[p->size - 2]) / (1 - p->levels[p->size - 1]));
    for (Py_ssize_t row = 0; row < p->series; row++)
        for (Py_ssize_t path = 0; path < p->count; path++) {
            Py_ssize_t tenant = path * p->tenants + p->tenant[row], at = path * p->series + row;
            const float *noise = p->own_noise + at * p->horizon, *shared = p->tenant_noise + tenant * p->horizon;
            double level = kept * (common * p->tenant_level[tenant] + own * p->own_level[at]), state = 0;
            for (Py_ssize_t step = 0; step < p->horizon; step++) {
                /* Both parts have the same memory, so their sum is carried on as one. */
                double now = common * (double)shared[step] + own * (double)noise[step];
                state = step ? p->memory * state + fresh * now : now;
                const double *quantiles = p->steps + (row * p->horizon + step) * p->size;
                p->out[at * p->horizon + step] = value_of(p, quantiles, normal_share(level + rest * state));
            }
        }
}

PyObject *path_values(PyObject *self, PyObject *args) {
    PyObject *from[8];
    Py_buffer views[8];
    Paths p;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOOOOOnnnnddd", &from[0], &from[1], &from[2], &from[3], &from[4], &from[5], &from[6],
                          &from[7], &p.count, &p.series, &p.tenants, &p.horizon, &p.level, &p.memory, &p.share))
        return NULL;
    p.size = PyObject_Length(from[1]);
    if (p.size < 2 || p.size > MOST_LEVELS || p.count < 0 || p.series < 0 || p.tenants < 0 || p.horizon < 0)
        return PyErr_Format(PyExc_ValueError, "%zd levels; between 2 and %d are allowed", p.size, MOST_LEVELS);
    const Py_ssize_t own = p.count * p.series, shared = p.count * p.tenants;
    const Wanted wanted[8] = {{8, p.series * p.horizon * p.size, 0, "steps"},
                              {8, p.size, 0, "levels"},
                              {8, p.series, 0, "tenant"},
                              {8, own, 0, "own_level"},
                              {8, shared, 0, "tenant_level"},
                              {4, own * p.horizon, 0, "own_noise"},
                              {4, shared * p.horizon, 0, "tenant_noise"},
                              {8, own * p.horizon, 1, "out"}};
    if (!hold(from, views, wanted, 8)) return NULL;
    p.steps = views[0].buf, p.levels = views[1].buf, p.tenant = views[2].buf, p.own_level = views[3].buf;
    p.tenant_level = views[4].buf, p.own_noise = views[5].buf, p.tenant_noise = views[6].buf, p.out = views[7].buf;
    int fits = 1;
    for (Py_ssize_t row = 0; row < p.series && fits; row++) fits = p.tenant[row] >= 0 && p.tenant[row] < p.tenants;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        draw(&p);
        Py_END_ALLOW_THREADS
    } else PyErr_Format(PyExc_ValueError, "a tenant that is not one of %zd", p.tenants);
    let_go(views, 8);
    return fits ? Py_NewRef(Py_None) : NULL;
}
