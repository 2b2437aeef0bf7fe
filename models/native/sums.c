/* Sums over a horizon as stretches of the past foretell them, and sums that then came: see models/{totals,past_sums}.py. */
#include "kernels.h"

typedef struct {
    const double *values;   /* (series, width), NaN where missing */
    const double *phases;   /* (season): how often each phase comes in the horizon */
    const int64_t *lengths; /* (stretches), in seasons */
    double *out;
    Py_ssize_t series, width, season, horizon, stretches, origins;
} Sums;

/* The horizon's sum if each phase went on as on average over the last ``length`` whole seasons. */
static double level(const Sums *s, const double *end, Py_ssize_t length) {
    double total = 0, known = 0, sum = 0, missing = 0;
    for (Py_ssize_t phase = 0; phase < s->season; phase++) {
        double here = 0, count = 0;
        for (Py_ssize_t back = 1; back <= length; back++) {
            const double value = end[phase - back * s->season];
            if (isfinite(value)) here += value, count += 1;
        }
        total += here, known += count;
        if (count > 0) sum += here / count * s->phases[phase];
        else missing += s->phases[phase];
    }
    return sum + missing * total / (known > 1 ? known : 1);
}

static int held(Sums *s, PyObject *args, PyObject **from, Py_buffer *views, int missed) {
    if (!PyArg_ParseTuple(args, "OOOOnnnn", &from[0], &from[1], &from[2], &from[3], &s->series, &s->width, &s->horizon,
                          &s->origins))
        return 0;
    s->season = PyObject_Length(from[1]), s->stretches = PyObject_Length(from[2]);
    const Py_ssize_t whole = s->season > 0 ? (s->width - (missed ? s->horizon : 0)) / s->season : 0;
    if (s->series < 0 || s->season < 1 || s->stretches < 0 || s->horizon < 0 || whole < 1 || s->origins > whole ||
        (!missed && s->origins != 1)) {
        PyErr_Format(PyExc_ValueError, "%zd origins in %zd windows", s->origins, s->width);
        return 0;
    }
    const Wanted wanted[4] = {{8, s->series * s->width, 0, "values"},
                              {8, s->season, 0, "phases"},
                              {8, s->stretches, 0, "lengths"},
                              {8, s->stretches * s->series * s->origins, 1, "out"}};
    if (!hold(from, views, wanted, 4)) return 0;
    s->values = views[0].buf, s->phases = views[1].buf, s->lengths = views[2].buf, s->out = views[3].buf;
    return 1;
}

PyObject *level_opinions(PyObject *self, PyObject *args) {
    PyObject *from[4];
    Py_buffer views[4];
    Sums s;
    (void)self;
    if (!held(&s, args, from, views, 0)) return NULL;
    const Py_ssize_t whole = s.width / s.season;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t one = 0; one < s.stretches; one++)
        for (Py_ssize_t row = 0; row < s.series; row++)
            s.out[one * s.series + row] =
                level(&s, s.values + (row + 1) * s.width, s.lengths[one] < whole ? s.lengths[one] : whole);
    Py_END_ALLOW_THREADS
    let_go(views, 4);
    Py_RETURN_NONE;
}

/* Sums of one series before each of ``count`` places that lie ``step`` windows apart, and how many are known. */
static void before(const double *values, Py_ssize_t count, Py_ssize_t step, const double *phases, double *sums,
                   double *known) {
    sums[0] = known[0] = 0;
    for (Py_ssize_t place = 0; place < count; place++) {
        double sum = 0, there = 0;
        for (Py_ssize_t at = 0; at < step; at++) {
            const double value = values[place * step + at], weight = phases == NULL ? 1 : phases[at];
            if (isfinite(value)) sum += weight * value, there += weight;
        }
        sums[place + 1] = sums[place] + sum, known[place + 1] = known[place] + there;
    }
}

/* How far the sum that came after each origin, the latest first, lay above what each stretch before it foretold. */
static void miss(const Sums *s, Py_ssize_t row, double *room) {
    const Py_ssize_t end = s->width - s->horizon, whole = end / s->season, first = end - whole * s->season;
    const double *values = s->values + row * s->width;
    const double horizon = (double)s->horizon;
    double *sums = room, *counts = sums + whole + 1, *total = counts + whole + 1, *known = total + s->width + 1;
    before(values + first, whole, s->season, s->phases, sums, counts);
    before(values, s->width, 1, NULL, total, known);
    for (Py_ssize_t at = 0; at < s->origins; at++) {
        const Py_ssize_t origin = whole - at, start = first + origin * s->season;
        const double seen = known[start + s->horizon] - known[start];
        const double came = seen > horizon / 2 ? (total[start + s->horizon] - total[start]) * horizon / seen : NAN;
        for (Py_ssize_t one = 0; one < s->stretches; one++) {
            const Py_ssize_t since = origin > s->lengths[one] ? origin - s->lengths[one] : 0;
            const double count = counts[origin] - counts[since];
            s->out[(one * s->series + row) * s->origins + at] =
                count > 0 ? came - (sums[origin] - sums[since]) * horizon / count : NAN;
        }
    }
}

PyObject *missed_sums(PyObject *self, PyObject *args) {
    PyObject *from[4];
    Py_buffer views[4];
    Sums s;
    (void)self;
    if (!held(&s, args, from, views, 1)) return NULL;
    double *room = malloc(sizeof(double) * (size_t)(4 * s.width + 4));
    if (room != NULL) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t row = 0; row < s.series; row++) miss(&s, row, room);
        Py_END_ALLOW_THREADS
        free(room);
    }
    let_go(views, 4);
    return room != NULL ? Py_NewRef(Py_None) : PyErr_NoMemory();
}
