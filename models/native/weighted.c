/* Weighted quantiles of the past of many series: see models/weighted.py. */
#include "kernels.h"

#define LANES 16 /* kinds of weights at a time */
#define MOST_BINS 255

typedef struct {
    const uint8_t *bins; /* (series, width), `count` where missing */
    const double *points; /* (series, count) */
    const float *weights; /* (kinds, width) */
    const double *levels;
    double *out; /* (series, kinds, levels) */
    Py_ssize_t series, width, kinds, count, level_count;
} Weighted;

/* Adds LANES numbers to others. */
static inline void add(float *to, const float *from) {
#ifdef __GNUC__ /* which would add them one by one, as both might be the same */
    typedef float Eight __attribute__((vector_size(32)));
    for (int lane = 0; lane < LANES; lane += 8) {
        Eight sum, more;
        memcpy(&sum, to + lane, sizeof sum);
        memcpy(&more, from + lane, sizeof more);
        sum += more;
        memcpy(to + lane, &sum, sizeof sum);
    }
#else
    for (int lane = 0; lane < LANES; lane++) to[lane] += from[lane];
#endif
}

/* Masses of the bins under LANES kinds of weights, then the shares at the middle of each bin; both (bins, LANES). */
WIDE static void shares(const uint8_t *bins, const float *weights, Py_ssize_t width, Py_ssize_t count,
                        float *restrict mass, float *restrict middle) {
    memset(mass, 0, sizeof(float) * (size_t)((count + 1) * LANES));
    for (Py_ssize_t at = 0; at < width; at++) add(mass + bins[at] * LANES, weights + at * LANES);
    float total[LANES] = {0};
    for (Py_ssize_t bin = 0; bin < count; bin++)
        for (int lane = 0; lane < LANES; lane++) {
            total[lane] += mass[bin * LANES + lane];
            middle[bin * LANES + lane] = total[lane] - mass[bin * LANES + lane] / 2;
        }
    for (int lane = 0; lane < LANES; lane++) total[lane] = total[lane] > 1e-30f ? total[lane] : 1e-30f;
    for (Py_ssize_t bin = 0; bin < count; bin++)
        for (int lane = 0; lane < LANES; lane++) middle[bin * LANES + lane] /= total[lane];
}

/* How many middles lie below each level, for LANES kinds at once: (levels, LANES). */
WIDE static void crossings(const float *restrict middle, Py_ssize_t count, const double *levels, Py_ssize_t level_count,
                           int32_t *restrict above) {
    for (Py_ssize_t place = 0; place < level_count; place++) {
        const float level = (float)levels[place];
        int32_t below[LANES] = {0};
        for (Py_ssize_t bin = 0; bin < count; bin++)
            for (int lane = 0; lane < LANES; lane++) below[lane] += middle[bin * LANES + lane] < level;
        memcpy(above + place * LANES, below, sizeof below);
    }
}

/* The quantiles of one kind of weights from the shares at the middles of its bins. */
static void read_off(const Weighted *w, const float *middle, const int32_t *above, const double *points, double *out) {
    const Py_ssize_t last = w->count - 1;
    for (Py_ssize_t place = 0; place < w->level_count; place++) {
        const float level = (float)w->levels[place];
        const Py_ssize_t at = above[place * LANES], high = at < last ? at : last, low = at > 0 ? at - 1 : 0;
        double value = points[low];
        if (high > low) {
            float gap = middle[high * LANES] - middle[low * LANES];
            float part = (level - middle[low * LANES]) / (gap > 1e-12f ? gap : 1e-12f);
            part = part < 0 ? 0 : part > 1 ? 1 : part;
            value += (double)part * (points[high] - points[low]);
        }
        out[place] = value;
    }
}

static int weigh(const Weighted *w) {
    float *lanes = malloc(sizeof(float) * (size_t)(w->width * LANES + 1));
    if (lanes == NULL) return 0;
    float mass[(MOST_BINS + 1) * LANES], middle[MOST_BINS * LANES];
    int32_t above[MOST_LEVELS * LANES];
    for (Py_ssize_t first = 0; first < w->kinds; first += LANES) {
        Py_ssize_t here = w->kinds - first < LANES ? w->kinds - first : LANES;
        for (Py_ssize_t at = 0; at < w->width; at++)
            for (Py_ssize_t lane = 0; lane < LANES; lane++)
                lanes[at * LANES + lane] = lane < here ? w->weights[(first + lane) * w->width + at] : 0;
        for (Py_ssize_t row = 0; row < w->series; row++) {
            shares(w->bins + row * w->width, lanes, w->width, w->count, mass, middle);
            crossings(middle, w->count, w->levels, w->level_count, above);
            for (Py_ssize_t lane = 0; lane < here; lane++)
                read_off(w, middle + lane, above + lane, w->points + row * w->count,
                         w->out + (row * w->kinds + first + lane) * w->level_count);
        }
    }
    free(lanes);
    return 1;
}

PyObject *weighted_quantiles(PyObject *self, PyObject *args) {
    PyObject *from[5], *answer = NULL;
    Py_buffer views[5];
    Weighted w;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOOnnnn", &from[0], &from[1], &from[2], &from[3], &from[4], &w.series, &w.width,
                          &w.kinds, &w.count))
        return NULL;
    w.level_count = PyObject_Length(from[3]);
    if (w.count < 1 || w.count > MOST_BINS || w.series < 0 || w.width < 0 || w.kinds < 0 || w.level_count < 1 || w.level_count > MOST_LEVELS)
        return PyErr_Format(PyExc_ValueError, "%zd bins; between 1 and %d are allowed", w.count, MOST_BINS);
    const Wanted wanted[5] = {{1, w.series * w.width, 0, "bins"},
                              {8, w.series * w.count, 0, "points"},
                              {4, w.kinds * w.width, 0, "weights"},
                              {8, w.level_count, 0, "levels"},
                              {8, w.series * w.kinds * w.level_count, 1, "out"}};
    if (!hold(from, views, wanted, 5)) return NULL;
    w.bins = views[0].buf, w.points = views[1].buf, w.weights = views[2].buf, w.levels = views[3].buf;
    w.out = views[4].buf;
    int done = 1;
    for (Py_ssize_t at = 0; at < w.series * w.width && done; at++) done = w.bins[at] <= w.count;
    if (!done) PyErr_Format(PyExc_ValueError, "a bin above %zd", w.count);
    else {
        Py_BEGIN_ALLOW_THREADS
        done = weigh(&w);
        Py_END_ALLOW_THREADS
        answer = done ? Py_NewRef(Py_None) : PyErr_NoMemory();
    }
    let_go(views, 5);
    return answer;
}

#define BINS 64 /* a power of 2, as edges are searched for by halving */

/* Bins of about equal count of one series: where each begins, its number, and means of all of them. */
static void fill_bins(const double *ranked, Py_ssize_t width, double *edge, uint8_t *number, double *points) {
    Py_ssize_t known = 0, used = 0;
    for (Py_ssize_t at = 0; at < width; at++) known += isfinite(ranked[at]) != 0;
    for (Py_ssize_t at = 0; at < BINS; at++) edge[at] = INFINITY, number[at] = 0;
    for (Py_ssize_t at = 0, first = 0; at < known; used++) {
        const Py_ssize_t bin = first * BINS / known, begin = at;
        double sum = 0;
        for (; at < known; at++) {
            if (at > begin && ranked[at] != ranked[at - 1]) first = at;
            if (at > begin && first * BINS / known != bin) break;
            sum += ranked[at];
        }
        edge[used] = ranked[begin], number[used] = (uint8_t)bin, points[used] = sum / (double)(at - begin);
    }
    /* A bin without values has the mean of the one before, the first ones that of the first that has some. */
    for (Py_ssize_t bin = BINS, place = used; bin-- > 0;) {
        while (place > 0 && (place == used || number[place] > bin)) place--;
        points[bin] = used ? points[place] : 0;
    }
}

/* The bin of every value, `BINS` where it is missing. */
static void find_bins(const double *past, Py_ssize_t width, const double *edge, const uint8_t *number, uint8_t *bins) {
    for (Py_ssize_t first = 0; first < width; first += LANES) {
        const int here = width - first < LANES ? (int)(width - first) : LANES;
        int place[LANES] = {0};
        for (int step = BINS / 2; step > 0; step /= 2)
            for (int lane = 0; lane < here; lane++)
                place[lane] += edge[place[lane] + step] <= past[first + lane] ? step : 0;
        for (int lane = 0; lane < here; lane++)
            bins[first + lane] = isfinite(past[first + lane]) ? number[place[lane]] : BINS;
    }
}

PyObject *binned(PyObject *self, PyObject *args) {
    PyObject *from[4];
    Py_buffer views[4];
    Py_ssize_t series, width, count;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOnnn", &from[0], &from[1], &from[2], &from[3], &series, &width, &count)) return NULL;
    if (series < 0 || width < 0 || count != BINS)
        return PyErr_Format(PyExc_ValueError, "%zd bins; only %d are allowed", count, BINS);
    const Wanted wanted[4] = {{8, series * width, 0, "past"},
                              {8, series * width, 0, "ranked"},
                              {1, series * width, 1, "bins"},
                              {8, series * BINS, 1, "points"}};
    if (!hold(from, views, wanted, 4)) return NULL;
    const double *past = views[0].buf, *ranked = views[1].buf;
    uint8_t *bins = views[2].buf, number[BINS];
    double *points = views[3].buf, edge[BINS];
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t row = 0; row < series; row++) {
        fill_bins(ranked + row * width, width, edge, number, points + row * BINS);
        find_bins(past + row * width, width, edge, number, bins + row * width);
    }
    Py_END_ALLOW_THREADS
    let_go(views, 4);
    Py_RETURN_NONE;
}
