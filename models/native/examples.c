/* Normalised pieces of a panel and plain guesses of what comes: see models/forecasters/lstm_data.py, lstm_candidates.py.
 *
 * Sums are added up in the order in which NumPy does, so that a network is trained on the same numbers with or without.
 */
#include "kernels.h"

#define FACTS 7
#define GUESSES 11
#define WEEKS 3

/* Pairwise summation of what is known less ``middle``, or of its square. */
static double pairwise(const double *values, Py_ssize_t count, double middle, int squared) {
    if (count > 128) {
        Py_ssize_t half = count / 2;
        half -= half % 8;
        return pairwise(values, half, middle, squared) + pairwise(values + half, count - half, middle, squared);
    }
    double sums[8] = {0}, rest = 0;
    Py_ssize_t at = 0;
    for (; at + 8 <= count; at += 8)
        for (int lane = 0; lane < 8; lane++) {
            const double value = isfinite(values[at + lane]) ? values[at + lane] - middle : 0;
            sums[lane] += squared ? value * value : value;
        }
    if (at) rest = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
    for (; at < count; at++) {
        const double value = isfinite(values[at]) ? values[at] - middle : 0;
        rest += squared ? value * value : value;
    }
    return rest;
}

static Py_ssize_t known_in(const double *values, Py_ssize_t count) {
    Py_ssize_t known = 0;
    for (Py_ssize_t at = 0; at < count; at++) known += isfinite(values[at]) != 0;
    return known;
}

/* Mean and standard deviation of what is known; 0 where nothing is. */
static void moments(const double *values, Py_ssize_t count, double *mean, double *spread) {
    const Py_ssize_t known = known_in(values, count);
    const double by = known > 0 ? (double)known : 1;
    *mean = pairwise(values, count, 0, 0) / by;
    *spread = sqrt(pairwise(values, count, *mean, 1) / by);
}

static double clipped(double value, double most) { return value > most ? most : value < -most ? -most : value; }

/* One series: the past on its own scale, the context as a network takes it, and what holds for all of it. */
static void normalise(double *past, float *context, double *facts, Py_ssize_t width, Py_ssize_t length) {
    const double *near = past + width - length;
    double level, spread, longer, mean;
    Py_ssize_t zeros = 0, still = 0;
    moments(near, length, &level, &spread);
    moments(past, width, &mean, &longer);
    for (Py_ssize_t at = 0; at < length; at++) zeros += near[at] == 0;
    spread = spread > 0.1 * longer ? spread : 0.1 * longer;
    const double least = 0.01 * fabs(level) > 1e-9 ? 0.01 * fabs(level) : 1e-9;
    const double scale = spread > least ? spread : least;
    facts[2] = (double)known_in(near, length) / (double)length;
    facts[3] = (double)zeros / (double)length;
    for (Py_ssize_t at = 0; at < width; at++) past[at] = clipped((past[at] - level) / scale, 50);
    for (Py_ssize_t at = 0; at < length; at++) {
        const int known = isfinite(near[at]);
        context[2 * at] = known ? (float)clipped(near[at], 20) : 0;
        context[2 * at + 1] = (float)known;
    }
    while (still + 1 < width && past[width - 1 - still] == past[width - 2 - still]) still++;
    moments(past, width, &facts[5], &facts[6]);
    facts[0] = level, facts[1] = scale, facts[4] = (double)still;
}

PyObject *normalised(PyObject *self, PyObject *args) {
    PyObject *from[3];
    Py_buffer views[3];
    Py_ssize_t series, width, length;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOnnn", &from[0], &from[1], &from[2], &series, &width, &length)) return NULL;
    if (series < 0 || length < 1 || length > width)
        return PyErr_Format(PyExc_ValueError, "a context of %zd of %zd windows", length, width);
    const Wanted wanted[3] = {{8, series * width, 1, "past"},
                              {4, series * length * 2, 1, "context"},
                              {8, series * FACTS, 1, "facts"}};
    if (!hold(from, views, wanted, 3)) return NULL;
    double *past = views[0].buf, *facts = views[2].buf;
    float *context = views[1].buf;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t row = 0; row < series; row++)
        normalise(past + row * width, context + row * length * 2, facts + row * FACTS, width, length);
    Py_END_ALLOW_THREADS
    let_go(views, 3);
    Py_RETURN_NONE;
}

typedef struct {
    const double *past, *ranked; /* (series, width); its last `context` windows in rising order, missing ones last */
    float *out;                  /* (series, horizon, stride) */
    double *phases;              /* room for 5 x season and a column of seasons */
    Py_ssize_t series, width, context, season, horizon, stride;
} Guesses;

static double middle_of(const double *ranked, Py_ssize_t known) {
    return known ? 0.5 * (ranked[(known - 1) / 2] + ranked[known / 2]) : NAN;
}

static double mean_of(const double *values, Py_ssize_t count, double otherwise) {
    const Py_ssize_t known = known_in(values, count);
    return known ? pairwise(values, count, 0, 0) / (double)known : otherwise;
}

/* Last, mean, median and spread over ``seasons`` at one phase; ``values`` begins a season or a part of one at `phase`. */
static void over_seasons(const Guesses *g, const double *values, Py_ssize_t seasons, double middle, double *found) {
    double *column = g->phases + 5 * g->season, sum = 0, squares = 0;
    Py_ssize_t known = 0;
    const double last = values[(seasons - 1) * g->season];
    for (Py_ssize_t one = 0; one < seasons; one++) {
        const double value = values[one * g->season];
        if (!isfinite(value)) continue;
        Py_ssize_t to = known++;
        for (; to > 0 && column[to - 1] > value; to--) column[to] = column[to - 1];
        column[to] = value;
        sum += value;
    }
    const double mean = known ? sum / (double)known : middle;
    for (Py_ssize_t one = 0; one < seasons; one++) {
        const double apart = values[one * g->season] - mean;
        if (isfinite(apart)) squares += apart * apart;
    }
    found[0] = isfinite(last) ? last : mean;
    found[1] = mean;
    found[2] = known ? middle_of(column, known) : mean;
    found[3] = known ? sqrt(squares / (double)known) : 1;
}

/* The mean over the whole seasons of a past at one phase. */
static double over_all(const double *values, Py_ssize_t seasons, Py_ssize_t season, double otherwise) {
    double sum = 0;
    Py_ssize_t known = 0;
    for (Py_ssize_t one = 0; one < seasons; one++)
        if (isfinite(values[one * season])) sum += values[one * season], known++;
    return known ? sum / (double)known : otherwise;
}

/* What holds at each phase to come (season, 5), of the last ``width`` values and of the context's; a part of a season,
 * where there is no whole one, is at its end. */
static void fill_phases(const Guesses *g, const double *past, double middle) {
    const Py_ssize_t season = g->season, whole = g->width / season, recent = g->context / season;
    for (Py_ssize_t phase = 0; phase < season; phase++) {
        double *found = g->phases + 5 * phase;
        const Py_ssize_t gap = phase - season; /* from the end, in the last season */
        const Py_ssize_t near = recent ? recent : g->context + gap >= 0, all = whole ? whole : g->width + gap >= 0;
        if (near) over_seasons(g, past + g->width + gap - (near - 1) * season, near, middle, found);
        else found[0] = found[1] = found[2] = middle, found[3] = 1;
        found[4] = all ? over_all(past + g->width + gap - (all - 1) * season, all, season, found[1]) : found[1];
    }
}

/* A week before a step, and the mean of so far as three weeks before; ``mean`` where there is none. */
static void over_weeks(const Guesses *g, const double *past, Py_ssize_t step, double mean, float *out) {
    const Py_ssize_t week = 7 * g->season;
    double sum = 0;
    Py_ssize_t known = 0, at = g->width + step - week * ((step + week) / week);
    out[0] = at >= 0 && isfinite(past[at]) ? (float)past[at] : (float)mean;
    for (int back = 0; back < WEEKS; back++, at -= week)
        if (at >= 0 && isfinite(past[at])) sum += past[at], known++;
    out[1] = known ? (float)(sum / (double)known) : (float)mean;
}

static void guess(const Guesses *g, Py_ssize_t row, Py_ssize_t spread_at) {
    const double *past = g->past + row * g->width, *ranked = g->ranked + row * g->context;
    const double *end = past + g->width;
    const Py_ssize_t known = known_in(ranked, g->context), sixth = g->season / 6 > 0 ? g->season / 6 : 1;
    const Py_ssize_t lately = g->season < g->context ? g->season : g->context, last = sixth < g->context ? sixth : g->context;
    const double middle = known ? middle_of(ranked, known) : 0, whole = mean_of(past, g->width, 0);
    const double level = mean_of(end - lately, lately, middle), newest = mean_of(end - last, last, level);
    double value = 0;
    for (Py_ssize_t at = 1; at <= g->context; at++)
        if (isfinite(end[-at])) {
            value = end[-at];
            break;
        }
    fill_phases(g, past, middle);
    for (Py_ssize_t step = 0; step < g->horizon; step++) {
        const double *phase = g->phases + 5 * (step % g->season);
        float *out = g->out + (row * g->horizon + step) * g->stride;
        for (int one = 0; one < 3; one++) out[one] = (float)phase[one];
        over_weeks(g, past, step, phase[1], out + 3);
        out[5] = (float)value, out[6] = (float)newest, out[7] = (float)level, out[8] = (float)middle;
        out[9] = (float)phase[4], out[10] = (float)whole;
        out[spread_at] = (float)(phase[3] < 20 ? phase[3] : 20);
    }
}

PyObject *guesses(PyObject *self, PyObject *args) {
    PyObject *from[3];
    Py_buffer views[3];
    Py_ssize_t spread_at;
    Guesses g;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOnnnnnnn", &from[0], &from[1], &from[2], &g.series, &g.width, &g.context, &g.season,
                          &g.horizon, &g.stride, &spread_at))
        return NULL;
    if (g.series < 0 || g.context < 1 || g.context > g.width || g.season < 1 || g.horizon < 0 || spread_at < GUESSES ||
        spread_at >= g.stride)
        return PyErr_Format(PyExc_ValueError, "a context of %zd of %zd windows, %zd columns", g.context, g.width, g.stride);
    const Wanted wanted[3] = {{8, g.series * g.width, 0, "past"},
                              {8, g.series * g.context, 0, "ranked"},
                              {4, g.series * g.horizon * g.stride, 1, "out"}};
    if (!hold(from, views, wanted, 3)) return NULL;
    g.past = views[0].buf, g.ranked = views[1].buf, g.out = views[2].buf;
    g.phases = malloc(sizeof(double) * (size_t)(5 * g.season + g.context / g.season + 1));
    if (g.phases != NULL) {
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t row = 0; row < g.series; row++) guess(&g, row, spread_at);
        Py_END_ALLOW_THREADS
    }
    let_go(views, 3);
    if (g.phases == NULL) return PyErr_NoMemory();
    free(g.phases);
    Py_RETURN_NONE;
}
