/* Series on the scale of square roots or of logarithms, and back: see models/forecasters/{scales,gaussian_process}.py. */
#include "elementary.h"
#include "kernels.h"

#define FACTS 4

typedef struct {
    const double *past; /* (series, width), NaN where missing */
    float *values;      /* (series, width) */
    double *facts;      /* (series, FACTS) */
    Py_ssize_t series, width, season, judged;
    double offset;
    int logs;
} Scale;

/* The mean of what is known of a series, 1 where that is not above 0; ``still`` is its value if it has but one. */
static double mean_of(const double *past, Py_ssize_t width, double *still) {
    double sum = 0, low = INFINITY, high = -INFINITY;
    Py_ssize_t known = 0;
    for (Py_ssize_t at = 0; at < width; at++) {
        if (!isfinite(past[at])) continue;
        known++;
        sum += past[at] > 0 ? past[at] : 0;
        low = past[at] < low ? past[at] : low;
        high = past[at] > high ? past[at] : high;
    }
    *still = low == high ? low : NAN;
    return known && sum > 0 ? sum / (double)known : 1;
}

/* Values on the scale, anything where they are missing. */
WIDE static void onto(const double *restrict past, float *restrict values, Py_ssize_t width, double mean, double offset,
                      int logs) {
    const double by = 1 / mean;
    if (logs)
        for (Py_ssize_t at = 0; at < width; at++)
            values[at] = logarithm((float)((past[at] > 0 ? past[at] * by : 0) + offset));
    else
        for (Py_ssize_t at = 0; at < width; at++)
            values[at] = sqrtf((float)((past[at] > 0 ? past[at] * by : 0) + offset));
}

/* Where a window is missing lies the mean of its phase, or 0. */
static void fill(const double *past, float *values, Py_ssize_t width, Py_ssize_t season) {
    for (Py_ssize_t phase = 0; phase < season && phase < width; phase++) {
        double sum = 0;
        Py_ssize_t known = 0;
        for (Py_ssize_t at = phase; at < width; at += season)
            if (isfinite(past[at])) sum += values[at], known++;
        for (Py_ssize_t at = phase; at < width; at += season)
            if (!isfinite(past[at])) values[at] = known ? (float)(sum / (double)known) : 0;
    }
}

static void one_series(const Scale *s, Py_ssize_t row) {
    const double *past = s->past + row * s->width;
    float *values = s->values + row * s->width;
    double *facts = s->facts + row * FACTS, sum = 0, slopes = 0;
    Py_ssize_t known = 0;
    facts[1] = mean_of(past, s->width, &facts[3]);
    onto(past, values, s->width, facts[1], s->offset, s->logs);
    for (Py_ssize_t at = 0; at < s->width; at++)
        if (isfinite(past[at])) sum += values[at], known++;
    const float middle = (float)(facts[0] = known ? sum / (double)known : 0);
    /* The slope of a logarithm is 1 / x, that of a root 1 / 2 root: the logarithm of either. */
    for (Py_ssize_t at = s->width - s->judged; at < s->width; at++)
        if (isfinite(past[at])) slopes -= s->logs ? values[at] : logarithm(2 * values[at]);
    facts[2] = slopes;
    for (Py_ssize_t at = 0; at < s->width; at++) values[at] -= middle;
    if (known < s->width) fill(past, values, s->width, s->season);
}

PyObject *on_scale(PyObject *self, PyObject *args) {
    PyObject *from[3];
    Py_buffer views[3];
    Scale s;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOnnnndp", &from[0], &from[1], &from[2], &s.series, &s.width, &s.season, &s.judged,
                          &s.offset, &s.logs))
        return NULL;
    if (s.series < 0 || s.width < 0 || s.season < 1 || s.judged < 0 || s.judged > s.width)
        return PyErr_Format(PyExc_ValueError, "%zd judged windows of %zd", s.judged, s.width);
    const Wanted wanted[3] = {{8, s.series * s.width, 0, "past"},
                              {4, s.series * s.width, 1, "values"},
                              {8, s.series * FACTS, 1, "facts"}};
    if (!hold(from, views, wanted, 3)) return NULL;
    s.past = views[0].buf, s.values = views[1].buf, s.facts = views[2].buf;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t row = 0; row < s.series; row++) one_series(&s, row);
    Py_END_ALLOW_THREADS
    let_go(views, 3);
    Py_RETURN_NONE;
}

typedef struct {
    const float *mean;                   /* (series, kernels, horizon) */
    const float *deviation;              /* (kernels, horizon) */
    const float *size, *within, *scores; /* (series, kernels), same, normal quantiles (levels) */
    const double *share, *facts;         /* (series), (series, FACTS) */
    double *out;                         /* (series, horizon, levels) */
    Py_ssize_t series, kernels, horizon, levels;
    double offset, largest, least;
    int logs;
} Normal;

/* Values back from the scale, in units of a series' mean; what all but vanishes is 0. */
WIDE static void back(float *restrict values, Py_ssize_t count, float offset, float largest, float least, int logs) {
    if (logs)
        for (Py_ssize_t at = 0; at < count; at++)
            values[at] = exponential(values[at] < largest ? values[at] : largest) - offset;
    else
        for (Py_ssize_t at = 0; at < count; at++)
            values[at] = (values[at] > 0 ? values[at] * values[at] : 0) - offset;
    for (Py_ssize_t at = 0; at < count; at++) values[at] = values[at] > least ? values[at] : 0;
}

WIDE static void add_one(const Normal *n, Py_ssize_t row, float *restrict middle, float *restrict spread,
                         float *restrict values) {
    const Py_ssize_t count = n->horizon * n->levels;
    const double *facts = n->facts + row * FACTS, by = n->share[row] * facts[1];
    double *restrict out = n->out + row * count;
    for (Py_ssize_t step = 0; step < n->horizon; step++) middle[step] = (float)facts[0], spread[step] = 0;
    for (Py_ssize_t one = 0; one < n->kernels; one++) {
        const float within = n->within[row * n->kernels + one], wide = within * n->size[row * n->kernels + one];
        const float *restrict mean = n->mean + (row * n->kernels + one) * n->horizon;
        const float *restrict deviation = n->deviation + one * n->horizon;
        for (Py_ssize_t step = 0; step < n->horizon; step++) {
            middle[step] += within * mean[step];
            spread[step] += wide * deviation[step];
        }
    }
    for (Py_ssize_t step = 0; step < n->horizon; step++)
        for (Py_ssize_t at = 0; at < n->levels; at++)
            values[step * n->levels + at] = middle[step] + spread[step] * n->scores[at];
    back(values, count, (float)n->offset, (float)n->largest, (float)n->least, n->logs);
    for (Py_ssize_t at = 0; at < count; at++) out[at] += by * (double)values[at];
}

/* Adds each series' share of quantiles of normal distributions on a scale, brought back from it. */
PyObject *add_normal(PyObject *self, PyObject *args) {
    PyObject *from[8];
    Py_buffer views[8];
    Normal n;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOOOOOnnndddp", &from[0], &from[1], &from[2], &from[3], &from[4], &from[5], &from[6],
                          &from[7], &n.series, &n.kernels, &n.horizon, &n.offset, &n.largest, &n.least, &n.logs))
        return NULL;
    n.levels = PyObject_Length(from[4]);
    if (n.series < 0 || n.kernels < 1 || n.horizon < 0 || n.levels < 1)
        return PyErr_Format(PyExc_ValueError, "%zd kernels, %zd levels", n.kernels, n.levels);
    const Wanted wanted[8] = {{4, n.series * n.kernels * n.horizon, 0, "mean"},
                              {4, n.kernels * n.horizon, 0, "deviation"},
                              {4, n.series * n.kernels, 0, "size"},
                              {4, n.series * n.kernels, 0, "within"},
                              {4, n.levels, 0, "scores"},
                              {8, n.series, 0, "share"},
                              {8, n.series * FACTS, 0, "facts"},
                              {8, n.series * n.horizon * n.levels, 1, "out"}};
    if (!hold(from, views, wanted, 8)) return NULL;
    n.mean = views[0].buf, n.deviation = views[1].buf, n.size = views[2].buf, n.within = views[3].buf;
    n.scores = views[4].buf, n.share = views[5].buf, n.facts = views[6].buf, n.out = views[7].buf;
    float *room = malloc(sizeof(float) * (size_t)(n.horizon * (n.levels + 2) + 1));
    if (room != NULL) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t row = 0; row < n.series; row++)
            add_one(&n, row, room, room + n.horizon, room + 2 * n.horizon);
        Py_END_ALLOW_THREADS
    }
    let_go(views, 8);
    if (room == NULL) return PyErr_NoMemory();
    free(room);
    Py_RETURN_NONE;
}
