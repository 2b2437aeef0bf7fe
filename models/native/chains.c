/* Probabilities of states by three experts, carried on step by step: see models/forecasters/markov.py. */
#include "kernels.h"

#define MOST_STATES 32
#define FEW_STATES 12 /* up to so many lie in whole vectors */

typedef struct {
    const double *last, *seasonal; /* (series, states, states) */
    const double *phase;           /* (series, season, states) */
    const int64_t *at;             /* (horizon), phases */
    const double *weights;         /* (3) */
    const double *belief;          /* (series, states) */
    const double *known;           /* (series, lag, states), the same windows a season before the first of them */
    double *out;                   /* (series, horizon, states) */
    Py_ssize_t series, states, season, horizon, lag;
} Chains;

WIDE static void carry(const Chains *c, Py_ssize_t row) {
    const Py_ssize_t n = c->states;
    const double *last = c->last + row * n * n, *seasonal = c->seasonal + row * n * n;
    double *out = c->out + row * c->horizon * n;
    for (Py_ssize_t step = 0; step < c->horizon; step++) {
        const double *now = step ? out + (step - 1) * n : c->belief + row * n;
        const double *before = step < c->lag ? c->known + (row * c->lag + step) * n : out + (step - c->lag) * n;
        const double *phase = c->phase + (row * c->season + c->at[step]) * n;
        double sum = 0, next[MOST_STATES];
        for (Py_ssize_t to = 0; to < n; to++) next[to] = c->weights[2] * phase[to];
        for (Py_ssize_t from = 0; from < n; from++) {
            const double one = c->weights[0] * now[from], two = c->weights[1] * before[from];
            for (Py_ssize_t to = 0; to < n; to++) next[to] += one * last[from * n + to] + two * seasonal[from * n + to];
        }
        for (Py_ssize_t to = 0; to < n; to++) sum += next[to];
        for (Py_ssize_t to = 0; to < n; to++) out[step * n + to] = next[to] / sum;
    }
}

/* Rows of so few states, with zeros after them. */
static void pad(const double *from, Py_ssize_t n, double (*to)[FEW_STATES]) {
    memset(to, 0, sizeof(double[FEW_STATES]) * FEW_STATES);
    for (Py_ssize_t row = 0; row < n; row++) memcpy(to[row], from + row * n, sizeof(double) * (size_t)n);
}

/* The same as `carry`, where all states fit into a few vectors. */
WIDE static void carry_few(const Chains *c, Py_ssize_t row) {
    const Py_ssize_t n = c->states;
    double last[FEW_STATES][FEW_STATES], seasonal[FEW_STATES][FEW_STATES], *out = c->out + row * c->horizon * n;
    pad(c->last + row * n * n, n, last);
    pad(c->seasonal + row * n * n, n, seasonal);
    for (Py_ssize_t step = 0; step < c->horizon; step++) {
        const double *now = step ? out + (step - 1) * n : c->belief + row * n;
        const double *before = step < c->lag ? c->known + (row * c->lag + step) * n : out + (step - c->lag) * n;
        const double *phase = c->phase + (row * c->season + c->at[step]) * n;
        double sum = 0, next[FEW_STATES] = {0}, other[FEW_STATES] = {0};
        for (Py_ssize_t to = 0; to < n; to++) next[to] = c->weights[2] * phase[to];
        for (Py_ssize_t from = 0; from < n; from++) {
            const double one = c->weights[0] * now[from], two = c->weights[1] * before[from];
            for (int to = 0; to < FEW_STATES; to++) next[to] += one * last[from][to];
            for (int to = 0; to < FEW_STATES; to++) other[to] += two * seasonal[from][to];
        }
        for (int to = 0; to < FEW_STATES; to++) next[to] += other[to];
        for (Py_ssize_t to = 0; to < n; to++) sum += next[to];
        const double by = 1 / sum;
        for (Py_ssize_t to = 0; to < n; to++) out[step * n + to] = next[to] * by;
    }
}

PyObject *chains(PyObject *self, PyObject *args) {
    PyObject *from[8];
    Py_buffer views[8];
    Chains c;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOOOOOnnnnn", &from[0], &from[1], &from[2], &from[3], &from[4], &from[5], &from[6],
                          &from[7], &c.series, &c.states, &c.season, &c.horizon, &c.lag))
        return NULL;
    if (c.series < 0 || c.states < 1 || c.states > MOST_STATES || c.season < 1 || c.horizon < 0 || c.lag < 1)
        return PyErr_Format(PyExc_ValueError, "%zd states; between 1 and %d are allowed", c.states, MOST_STATES);
    const Py_ssize_t pairs = c.series * c.states * c.states;
    const Wanted wanted[8] = {{8, pairs, 0, "last"},
                              {8, pairs, 0, "seasonal"},
                              {8, c.series * c.season * c.states, 0, "phase"},
                              {8, c.horizon, 0, "at"},
                              {8, 3, 0, "weights"},
                              {8, c.series * c.states, 0, "belief"},
                              {8, c.series * c.lag * c.states, 0, "known"},
                              {8, c.series * c.horizon * c.states, 1, "out"}};
    if (!hold(from, views, wanted, 8)) return NULL;
    c.last = views[0].buf, c.seasonal = views[1].buf, c.phase = views[2].buf, c.at = views[3].buf;
    c.weights = views[4].buf, c.belief = views[5].buf, c.known = views[6].buf, c.out = views[7].buf;
    int fits = 1;
    for (Py_ssize_t step = 0; step < c.horizon && fits; step++) fits = c.at[step] >= 0 && c.at[step] < c.season;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t row = 0; row < c.series; row++)
            if (c.states <= FEW_STATES) carry_few(&c, row);
            else carry(&c, row);
        Py_END_ALLOW_THREADS
    } else PyErr_Format(PyExc_ValueError, "a phase that is not below %zd", c.season);
    let_go(views, 8);
    return fits ? Py_NewRef(Py_None) : NULL;
}
