/* Exponential smoothing of many series, and what it missed from origins on the way.
 *
 * See models/forecasters/smoothing.py.
 */
#include "kernels.h"

typedef struct {
    const double *roots; /* (series, width), not finite where missing */
    const double *level_share, *phase_share; /* (shares) */
    const int64_t *origins; /* (origins), rising; the last is the width, from which is forecast */
    double *ahead; /* (series, shares, horizon) */
    double *misses; /* (series, shares, origins - 1, horizon), NaN where nothing is known */
    double *sizes; /* (series, shares), mean absolute misses */
    double weekly;
    Py_ssize_t series, width, shares, origin_count, season, week, horizon;
} Smoothed;

/* One series with one pair of shares; ``phase`` and ``longer`` have room for a season and a week. */
static void smooth(const Smoothed *s, Py_ssize_t row, Py_ssize_t pair, double level, double *phase, double *longer) {
    double missed = 0;
    Py_ssize_t counted = 0;
    const double *roots = s->roots + row * s->width;
    const double a = s->level_share[pair], b = s->phase_share[pair] * (1 - a), c = s->weekly * (1 - a);
    Py_ssize_t next = 0, in_phase = 0, in_week = 0;
    memset(phase, 0, sizeof(double) * (size_t)s->season);
    memset(longer, 0, sizeof(double) * (size_t)s->week);
    for (Py_ssize_t at = 0; at <= s->width; at++) {
        if (next < s->origin_count && s->origins[next] == at) {
            const int is_last = at == s->width;
            double *out = is_last ? s->ahead + (row * s->shares + pair) * s->horizon
                                  : s->misses + ((row * s->shares + pair) * (s->origin_count - 1) + next) * s->horizon;
            Py_ssize_t p = in_phase, w = in_week;
            for (Py_ssize_t step = 0; step < s->horizon; step++) {
                double expected = level + phase[p] + longer[w];
                if (expected < 0) expected = 0;
                out[step] = is_last ? expected : at + step < s->width ? roots[at + step] - expected : NAN;
                if (!is_last && isfinite(out[step])) missed += fabs(out[step]), counted++;
                if (++p == s->season) p = 0;
                if (++w == s->week) w = 0;
            }
            next++;
        }
        if (at == s->width) break;
        double miss = roots[at] - level - phase[in_phase] - longer[in_week];
        if (isfinite(miss)) {
            level += a * miss;
            phase[in_phase] += b * miss;
            longer[in_week] += c * miss;
        }
        if (++in_phase == s->season) in_phase = 0;
        if (++in_week == s->week) in_week = 0;
    }
    s->sizes[row * s->shares + pair] = missed / (double)(counted > 0 ? counted : 1);
}

static int smooth_all(const Smoothed *s) {
    double *room = malloc(sizeof(double) * (size_t)(s->season + s->week));
    if (room == NULL) return 0;
    for (Py_ssize_t row = 0; row < s->series; row++) {
        const double *roots = s->roots + row * s->width;
        double sum = 0;
        Py_ssize_t known = 0, first = s->week < s->width ? s->week : s->width;
        for (Py_ssize_t at = 0; at < first; at++)
            if (isfinite(roots[at])) sum += roots[at], known++;
        for (Py_ssize_t pair = 0; pair < s->shares; pair++)
            smooth(s, row, pair, sum / (double)(known > 0 ? known : 1), room, room + s->season);
    }
    free(room);
    return 1;
}

PyObject *smoothed(PyObject *self, PyObject *args) {
    PyObject *from[7];
    Py_buffer views[7];
    Smoothed s;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOOOOdnnnnn", &from[0], &from[1], &from[2], &from[3], &from[4], &from[5], &from[6],
                          &s.weekly, &s.series, &s.width, &s.season, &s.week, &s.horizon))
        return NULL;
    s.shares = PyObject_Length(from[1]), s.origin_count = PyObject_Length(from[3]);
    if (s.shares < 1 || s.origin_count < 1 || s.series < 0 || s.width < 0 || s.season < 1 || s.week < 1 || s.horizon < 0)
        return PyErr_Format(PyExc_ValueError, "season %zd, week %zd, %zd origins", s.season, s.week, s.origin_count);
    const Py_ssize_t one = s.series * s.shares * s.horizon;
    const Wanted wanted[7] = {{8, s.series * s.width, 0, "roots"},
                              {8, s.shares, 0, "level_shares"},
                              {8, s.shares, 0, "phase_shares"},
                              {8, s.origin_count, 0, "origins"},
                              {8, one, 1, "ahead"},
                              {8, one * (s.origin_count - 1), 1, "misses"},
                              {8, s.series * s.shares, 1, "sizes"}};
    if (!hold(from, views, wanted, 7)) return NULL;
    s.roots = views[0].buf, s.level_share = views[1].buf, s.phase_share = views[2].buf, s.origins = views[3].buf;
    s.ahead = views[4].buf, s.misses = views[5].buf, s.sizes = views[6].buf;
    int done = s.origins[s.origin_count - 1] == s.width;
    for (Py_ssize_t at = 0; at + 1 < s.origin_count && done; at++)
        done = s.origins[at] >= 0 && s.origins[at] < s.origins[at + 1];
    if (!done) PyErr_Format(PyExc_ValueError, "origins must rise and end with the width, %zd", s.width);
    else {
        Py_BEGIN_ALLOW_THREADS
        done = smooth_all(&s);
        Py_END_ALLOW_THREADS
        if (!done) PyErr_NoMemory();
    }
    let_go(views, 7);
    return done ? Py_NewRef(Py_None) : NULL;
}
