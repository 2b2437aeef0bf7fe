/* States of the Markov model, what is counted of them, and spells of standing still: see models/forecasters/markov*.py. */
#include "kernels.h"

/* For how many windows each value has stood exactly still. */
PyObject *standing(PyObject *self, PyObject *args) {
    PyObject *from[2];
    Py_buffer views[2];
    Py_ssize_t series, width;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOnn", &from[0], &from[1], &series, &width)) return NULL;
    const Wanted wanted[2] = {{8, series * width, 0, "values"}, {8, series * width, 1, "out"}};
    if (!hold(from, views, wanted, 2)) return NULL;
    const double *values = views[0].buf;
    int64_t *out = views[1].buf;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t row = 0; row < series; row++)
        for (Py_ssize_t at = 0, now = row * width; at < width; at++, now++)
            out[now] = at > 0 && values[now] == values[now - 1] ? out[now - 1] + 1 : 0;
    Py_END_ALLOW_THREADS
    let_go(views, 2);
    Py_RETURN_NONE;
}

/* Whether a window is like one of a spell, as long as its own so far, that was there some lag before; `lasted` are lengths
 * of whole spells, at each window. */
static int ordinary(const double *values, const int64_t *lasted, Py_ssize_t at, int64_t still, const int64_t *lags,
                    Py_ssize_t lag_count) {
    for (Py_ssize_t one = 0; one < lag_count; one++) {
        const int64_t lag = lags[one];
        if (lag > still && lag <= at && lasted[at - lag] >= still && values[at - lag] == values[at]) return 1;
    }
    return 0;
}

/* For how many windows each spell of one series has been out of the ordinary; ``room`` is for whole spells' lengths. */
static void count_unusual(const double *values, Py_ssize_t width, const int64_t *lags, Py_ssize_t lag_count, int64_t off,
                          int64_t *room, int64_t *out) {
    for (Py_ssize_t at = 0; at < width; at++) out[at] = at > 0 && values[at] == values[at - 1] ? out[at - 1] + 1 : 0;
    for (Py_ssize_t at = width; at-- > 0;) {
        const int ends = at + 1 == width || out[at + 1] == 0;
        const int64_t whole = ends ? out[at] : room[at + 1] - off;
        room[at] = whole > 0 ? whole + off : 0;
    }
    int64_t still = 0, count = 0;
    for (Py_ssize_t at = 0; at < width; at++) {
        still = out[at];
        count = still == 0 ? 0 : count + !ordinary(values, room, at, still, lags, lag_count);
        out[at] = count;
    }
}

PyObject *unusual(PyObject *self, PyObject *args) {
    PyObject *from[3];
    Py_buffer views[3];
    Py_ssize_t series, width, off;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOnnn", &from[0], &from[1], &from[2], &series, &width, &off)) return NULL;
    const Py_ssize_t count = PyObject_Length(from[1]);
    const Wanted wanted[3] = {{8, series * width, 0, "values"}, {8, count, 0, "lags"}, {8, series * width, 1, "out"}};
    if (count < 0 || !hold(from, views, wanted, 3)) return NULL;
    const double *values = views[0].buf;
    const int64_t *lags = views[1].buf;
    int64_t *out = views[2].buf, *room = malloc(sizeof(int64_t) * (size_t)(width + 1));
    if (room != NULL) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t row = 0; row < series; row++)
            count_unusual(values + row * width, width, lags, count, off, room, out + row * width);
        Py_END_ALLOW_THREADS
        free(room);
    }
    let_go(views, 3);
    return room != NULL ? Py_NewRef(Py_None) : PyErr_NoMemory();
}

/* The state of every value: 0 for zero, else 1 and one more for each inner edge below it; -1 where it is missing. */
PyObject *states_of(PyObject *self, PyObject *args) {
    PyObject *from[3];
    Py_buffer views[3];
    Py_ssize_t series, width, edges;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOnnn", &from[0], &from[1], &from[2], &series, &width, &edges)) return NULL;
    if (series < 0 || width < 0 || edges < 0 || edges > 100) return PyErr_Format(PyExc_ValueError, "%zd edges", edges);
    const Wanted wanted[3] = {{8, series * width, 0, "values"}, {8, series * edges, 0, "edges"}, {1, series * width, 1, "out"}};
    if (!hold(from, views, wanted, 3)) return NULL;
    const double *values = views[0].buf, *edge = views[1].buf;
    int8_t *out = views[2].buf;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t row = 0; row < series; row++)
        for (Py_ssize_t at = row * width; at < (row + 1) * width; at++) {
            int state = 1;
            for (Py_ssize_t one = row * edges; one < (row + 1) * edges; one++) state += values[at] > edge[one];
            out[at] = (int8_t)(!isfinite(values[at]) ? -1 : values[at] > 0 ? state : 0);
        }
    Py_END_ALLOW_THREADS
    let_go(views, 3);
    Py_RETURN_NONE;
}

typedef struct {
    const int8_t *states;   /* (series, width), -1 where missing */
    const int64_t *phases;  /* (width) */
    const double *pooled_last, *pooled_seasonal; /* (n, n), with the weight that they have */
    double *last, *seasonal;                     /* (series, n, n) */
    double *phase;                               /* (series, season, n) */
    double *belief, *known;                      /* (series, n), (series, lag, n) */
    Py_ssize_t series, width, season, lag, n;
    double own; /* weight of a series' own states at a phase of which little is known */
} Chances;

static void scaled_to_one(double *values, Py_ssize_t count) {
    double sum = 0;
    for (Py_ssize_t at = 0; at < count; at++) sum += values[at];
    for (Py_ssize_t at = 0; at < count; at++) values[at] /= sum;
}

/* Chances of the state after each, from how often it came so many windows after, and what all series say. */
static void follow(const Chances *c, const int8_t *states, Py_ssize_t apart, const double *pooled, double *out) {
    memcpy(out, pooled, sizeof(double) * (size_t)(c->n * c->n));
    for (Py_ssize_t at = apart; at < c->width; at++)
        if (states[at] >= 0 && states[at - apart] >= 0) out[states[at - apart] * c->n + states[at]] += 1;
    for (Py_ssize_t state = 0; state < c->n; state++) scaled_to_one(out + state * c->n, c->n);
}

/* Chances of the states at each phase of the season. */
static void at_phases(const Chances *c, const int8_t *states, double *out) {
    double base[128] = {0};
    for (Py_ssize_t at = 0; at < c->width; at++)
        if (states[at] >= 0) base[states[at]] += 1;
    for (Py_ssize_t state = 0; state < c->n; state++) base[state] = base[state] / (double)c->width + 1e-6;
    scaled_to_one(base, c->n);
    for (Py_ssize_t at = 0; at < c->season * c->n; at++) out[at] = c->own * base[at % c->n];
    for (Py_ssize_t at = 0; at < c->width; at++)
        if (states[at] >= 0) out[c->phases[at] * c->n + states[at]] += 1;
    for (Py_ssize_t phase = 0; phase < c->season; phase++) scaled_to_one(out + phase * c->n, c->n);
}

/* Certainty of a state, or an even belief. */
static void certain(double *out, int state, Py_ssize_t n) {
    for (Py_ssize_t at = 0; at < n; at++) out[at] = state < 0 ? 1 / (double)n : at == state;
}

static void chances(const Chances *c, Py_ssize_t row) {
    const int8_t *states = c->states + row * c->width;
    int last = 0;
    follow(c, states, 1, c->pooled_last, c->last + row * c->n * c->n);
    follow(c, states, c->lag, c->pooled_seasonal, c->seasonal + row * c->n * c->n);
    at_phases(c, states, c->phase + row * c->season * c->n);
    for (Py_ssize_t at = 0; at < c->width; at++) last = states[at] >= 0 ? states[at] : last;
    certain(c->belief + row * c->n, last, c->n);
    for (Py_ssize_t step = 0; step < c->lag; step++) {
        const Py_ssize_t at = c->width - c->lag + step;
        certain(c->known + (row * c->lag + step) * c->n, at < 0 ? -1 : states[at], c->n);
    }
}

PyObject *state_chances(PyObject *self, PyObject *args) {
    PyObject *from[9];
    Py_buffer views[9];
    Chances c;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOOOOOOnnnnnd", &from[0], &from[1], &from[2], &from[3], &from[4], &from[5], &from[6],
                          &from[7], &from[8], &c.series, &c.width, &c.season, &c.lag, &c.n, &c.own))
        return NULL;
    if (c.series < 0 || c.width < 1 || c.season < 1 || c.lag < 1 || c.n < 1 || c.n > 100)
        return PyErr_Format(PyExc_ValueError, "%zd states in %zd windows", c.n, c.width);
    const Py_ssize_t pairs = c.n * c.n;
    const Wanted wanted[9] = {{1, c.series * c.width, 0, "states"},
                              {8, c.width, 0, "phases"},
                              {8, pairs, 0, "pooled last"},
                              {8, pairs, 0, "pooled seasonal"},
                              {8, c.series * pairs, 1, "last"},
                              {8, c.series * pairs, 1, "seasonal"},
                              {8, c.series * c.season * c.n, 1, "phase"},
                              {8, c.series * c.n, 1, "belief"},
                              {8, c.series * c.lag * c.n, 1, "known"}};
    if (!hold(from, views, wanted, 9)) return NULL;
    c.states = views[0].buf, c.phases = views[1].buf, c.pooled_last = views[2].buf, c.pooled_seasonal = views[3].buf;
    c.last = views[4].buf, c.seasonal = views[5].buf, c.phase = views[6].buf, c.belief = views[7].buf;
    c.known = views[8].buf;
    int fits = 1;
    for (Py_ssize_t at = 0; at < c.width && fits; at++) fits = c.phases[at] >= 0 && c.phases[at] < c.season;
    for (Py_ssize_t at = 0; at < c.series * c.width && fits; at++) fits = c.states[at] < c.n;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t row = 0; row < c.series; row++) chances(&c, row);
        Py_END_ALLOW_THREADS
    } else PyErr_Format(PyExc_ValueError, "a phase or a state that is out of reach");
    let_go(views, 9);
    return fits ? Py_NewRef(Py_None) : NULL;
}
