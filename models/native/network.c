/* What a network computes element by element between its products of matrices: see models/forecasters/lstm_inference.py. */
#include "elementary.h"
#include "kernels.h"

#define LANES 16 /* rows at a time, so that every operation is one of vectors */
#define MOST_GUESSES 48

static inline float logistic(float x) { return 1.0f / (1.0f + exponential(-x)); }

/* log(1 + e^x): the logarithm of m in [1, 2] is 2 artanh(s), s = (m - 1) / (m + 1) at most 1/3. */
static inline float softplus(float x) {
    const float e = exponential(x < 0 ? x : -x), s = e / (2.0f + e), q = s * s;
    const float p = 1.0f + q * (1 / 3.0f + q * (1 / 5.0f + q * (1 / 7.0f + q * (1 / 9.0f + q * (1 / 11.0f + q / 13.0f)))));
    return (x > 0 ? x : 0) + 2.0f * s * p;
}

/* log(x + sqrt(1 + x^2)) of x's size, with its sign. */
static inline float area(float x) {
    const float size = x < 0 ? -x : x, more = size + size * size / (1.0f + sqrtf(1.0f + size * size));
    const float found = more < 1e-3f ? more * (1.0f - 0.5f * more) : logarithm(1.0f + more);
    return x < 0 ? -found : found;
}

/* x times the normal distribution's share below x (Abramowitz & Stegun, 7.1.26, to 1.5e-7). */
static inline float gelu(float x) {
    const float z = (x < 0 ? -x : x) * 0.70710678f, t = 1.0f / (1.0f + 0.3275911f * z);
    float p = 1.061405429f;
    p = p * t - 1.453152027f, p = p * t + 1.421413741f, p = p * t - 0.284496736f, p = p * t + 0.254829592f;
    const float beyond = 0.5f * p * t * exponential(-z * z);
    return x * (x < 0 ? beyond : 1.0f - beyond);
}

WIDE static void gelu_rows(float *values, const float *offset, Py_ssize_t groups, Py_ssize_t rows, Py_ssize_t size) {
    for (Py_ssize_t group = 0; group < groups; group++) {
        const float *restrict add = offset + group * size;
        for (Py_ssize_t row = 0; row < rows; row++) {
            float *restrict at = values + (group * rows + row) * size;
            for (Py_ssize_t place = 0; place < size; place++) at[place] = gelu(at[place] + add[place]);
        }
    }
}

WIDE static void area_all(const float *restrict values, float *restrict out, Py_ssize_t count) {
    for (Py_ssize_t at = 0; at < count; at++) out[at] = area(values[at]);
}

/* Rows of ``width``: the first ``count`` of each as inverse hyperbolic sines, the rest as it is. */
static void area_rows(const float *values, float *out, Py_ssize_t rows, Py_ssize_t width, Py_ssize_t count) {
    area_all(values, out, rows * width);
    for (Py_ssize_t row = 0; row < rows; row++)
        memcpy(out + row * width + count, values + row * width + count, sizeof(float) * (size_t)(width - count));
}

/* One step of an LSTM's cell: gates (rows, 4 x size) in the order input, forget, candidate, output. */
WIDE static void cell_rows(const float *restrict gates, const float *restrict bias, float *restrict state,
                             float *restrict out, Py_ssize_t rows, Py_ssize_t size, Py_ssize_t stride) {
    for (Py_ssize_t row = 0; row < rows; row++) {
        const float *take = gates + row * 4 * size, *keep = take + size, *fresh = keep + size, *show = fresh + size;
        for (Py_ssize_t at = 0; at < size; at++) {
            const float candidate = 2.0f * logistic(2.0f * (fresh[at] + bias[2 * size + at])) - 1.0f;
            const float kept = logistic(keep[at] + bias[size + at]) * state[row * size + at];
            const float now = kept + logistic(take[at] + bias[at]) * candidate;
            state[row * size + at] = now;
            out[row * stride + at] = logistic(show[at] + bias[3 * size + at]) * (2.0f * logistic(2.0f * now) - 1.0f);
        }
    }
}

typedef struct {
    const float *raw, *guesses, *scores; /* (rows, width), (rows, stride), normal quantiles (levels) */
    float *out;                          /* (rows, levels) */
    Py_ssize_t rows, width, guess_count, stride, levels;
    int tailed;
} Heads;

/* Rising quantiles around a mixture of guesses, the outer ones averaged with a Student-t's, for LANES rows at once. */
WIDE static void heads_block(const Heads *h, const float (*restrict raw)[LANES], const float (*restrict guess)[LANES],
                               float (*restrict found)[LANES]) {
    const Py_ssize_t n = h->levels, middle = n / 2, count = h->guess_count;
    float most[LANES], sum[LANES], centre[LANES];
    for (int k = 0; k < LANES; k++) most[k] = raw[n + 1][k], sum[k] = 0, centre[k] = 0;
    for (Py_ssize_t g = 1; g < count; g++)
        for (int k = 0; k < LANES; k++) most[k] = raw[n + 1 + g][k] > most[k] ? raw[n + 1 + g][k] : most[k];
    for (Py_ssize_t g = 0; g < count; g++)
        for (int k = 0; k < LANES; k++) {
            const float weight = exponential(raw[n + 1 + g][k] - most[k]);
            sum[k] += weight;
            centre[k] += weight * guess[g][k];
        }
    for (int k = 0; k < LANES; k++) found[middle][k] = centre[k] / sum[k] + raw[n][k];
    for (Py_ssize_t at = middle + 1; at < n; at++)
        for (int k = 0; k < LANES; k++) found[at][k] = found[at - 1][k] + softplus(raw[at][k]);
    for (Py_ssize_t at = middle; at-- > 0;)
        for (int k = 0; k < LANES; k++) found[at][k] = found[at + 1][k] - softplus(raw[at][k]);
    if (!h->tailed) return;
    const float(*tail)[LANES] = raw + n + 1 + count;
    float scale[LANES], freedom[LANES];
    for (int k = 0; k < LANES; k++) {
        centre[k] = found[middle][k] + tail[0][k];
        scale[k] = softplus(tail[1][k]) + 1e-2f;
        freedom[k] = 2.1f + softplus(tail[2][k] + 1.0f);
    }
    for (Py_ssize_t at = 0; at < n; at++) {
        const float z = h->scores[at], cube = z * z * z, first = (cube + z) / 4;
        const float second = (5 * cube * z * z + 16 * cube + 3 * z) / 96;
        if (z < 0.6f && z > -0.6f) continue;
        for (int k = 0; k < LANES; k++) {
            const float student = centre[k] + scale[k] * (z + (first + second / freedom[k]) / freedom[k]);
            found[at][k] = 0.5f * (found[at][k] + student);
        }
    }
}

static void heads_rows(const Heads *h) {
    float raw[2 * MOST_LEVELS + MOST_GUESSES][LANES], guess[MOST_GUESSES][LANES], found[MOST_LEVELS][LANES];
    memset(raw, 0, sizeof raw);
    memset(guess, 0, sizeof guess);
    for (Py_ssize_t first = 0; first < h->rows; first += LANES) {
        const Py_ssize_t here = h->rows - first < LANES ? h->rows - first : LANES;
        for (Py_ssize_t k = 0; k < here; k++) {
            for (Py_ssize_t at = 0; at < h->width; at++) raw[at][k] = h->raw[(first + k) * h->width + at];
            for (Py_ssize_t g = 0; g < h->guess_count; g++) guess[g][k] = h->guesses[(first + k) * h->stride + g];
        }
        heads_block(h, raw, guess, found);
        for (Py_ssize_t k = 0; k < here; k++)
            for (Py_ssize_t at = 0; at < h->levels; at++) h->out[(first + k) * h->levels + at] = found[at][k];
    }
}

PyObject *area_of(PyObject *self, PyObject *args) {
    PyObject *from[2];
    Py_buffer views[2];
    Py_ssize_t rows, width, count;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOnnn", &from[0], &from[1], &rows, &width, &count)) return NULL;
    if (count < 0 || count > width) return PyErr_Format(PyExc_ValueError, "%zd of %zd columns", count, width);
    const Wanted wanted[2] = {{4, rows * width, 0, "values"}, {4, rows * width, 1, "out"}};
    if (!hold(from, views, wanted, 2)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    area_rows(views[0].buf, views[1].buf, rows, width, count);
    Py_END_ALLOW_THREADS
    let_go(views, 2);
    Py_RETURN_NONE;
}

/* Quantiles (series, rows, size) as they are on the scale of their series: scale x value + level, rising, never negative. */
PyObject *unscaled(PyObject *self, PyObject *args) {
    PyObject *from[4];
    Py_buffer views[4];
    Py_ssize_t series, rows, size;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOnnn", &from[0], &from[1], &from[2], &from[3], &series, &rows, &size)) return NULL;
    const Wanted wanted[4] = {{4, series * rows * size, 0, "values"},
                              {8, series, 0, "scale"},
                              {8, series, 0, "level"},
                              {8, series * rows * size, 1, "out"}};
    if (!hold(from, views, wanted, 4)) return NULL;
    const float *values = views[0].buf;
    const double *scale = views[1].buf, *level = views[2].buf;
    double *out = views[3].buf;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t one = 0; one < series; one++)
        for (Py_ssize_t at = one * rows * size; at < (one + 1) * rows * size; at++)
            out[at] = (double)values[at] * scale[one] + level[one];
    tidy_rows(out, series * rows, size);
    Py_END_ALLOW_THREADS
    let_go(views, 4);
    Py_RETURN_NONE;
}

PyObject *gelu_of(PyObject *self, PyObject *args) {
    PyObject *from[2];
    Py_buffer views[2];
    Py_ssize_t groups, rows, size;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOnnn", &from[0], &from[1], &groups, &rows, &size)) return NULL;
    const Wanted wanted[2] = {{4, groups * rows * size, 1, "values"}, {4, groups * size, 0, "offset"}};
    if (!hold(from, views, wanted, 2)) return NULL;
    Py_BEGIN_ALLOW_THREADS
    gelu_rows(views[0].buf, views[1].buf, groups, rows, size);
    Py_END_ALLOW_THREADS
    let_go(views, 2);
    Py_RETURN_NONE;
}

/* ``line`` (steps + 1, rows, inputs + size): a step's output becomes the end of the next one's row. */
PyObject *lstm_cell(PyObject *self, PyObject *args) {
    PyObject *from[4];
    Py_buffer views[4];
    Py_ssize_t step, steps, rows, inputs, size;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOnnnnn", &from[0], &from[1], &from[2], &from[3], &step, &steps, &rows, &inputs, &size))
        return NULL;
    if (step < 0 || step >= steps || rows < 0 || inputs < 0 || size < 1)
        return PyErr_Format(PyExc_ValueError, "step %zd; between 0 and %zd are allowed", step, steps - 1);
    const Py_ssize_t stride = inputs + size;
    const Wanted wanted[4] = {{4, rows * 4 * size, 0, "gates"},
                              {4, 4 * size, 0, "bias"},
                              {4, rows * size, 1, "state"},
                              {4, (steps + 1) * rows * stride, 1, "line"}};
    if (!hold(from, views, wanted, 4)) return NULL;
    float *out = (float *)views[3].buf + (step + 1) * rows * stride + inputs;
    Py_BEGIN_ALLOW_THREADS
    cell_rows(views[0].buf, views[1].buf, views[2].buf, out, rows, size, stride);
    Py_END_ALLOW_THREADS
    let_go(views, 4);
    Py_RETURN_NONE;
}

PyObject *quantile_heads(PyObject *self, PyObject *args) {
    PyObject *from[4];
    Py_buffer views[4];
    Heads h;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOnnnnp", &from[0], &from[1], &from[2], &from[3], &h.rows, &h.width, &h.guess_count,
                          &h.stride, &h.tailed))
        return NULL;
    h.levels = PyObject_Length(from[2]);
    if (h.levels < 1 || h.levels > MOST_LEVELS || h.guess_count < 1 || h.guess_count > MOST_GUESSES || h.rows < 0 ||
        h.stride < h.guess_count || h.width != h.levels + 1 + h.guess_count + (h.tailed ? 3 : 0))
        return PyErr_Format(PyExc_ValueError, "%zd guesses in rows of %zd; at most %d", h.guess_count, h.width, MOST_GUESSES);
    const Wanted wanted[4] = {{4, h.rows * h.width, 0, "raw"},
                              {4, h.rows * h.stride, 0, "guesses"},
                              {4, h.levels, 0, "scores"},
                              {4, h.rows * h.levels, 1, "out"}};
    if (!hold(from, views, wanted, 4)) return NULL;
    h.raw = views[0].buf, h.guesses = views[1].buf, h.scores = views[2].buf, h.out = views[3].buf;
    Py_BEGIN_ALLOW_THREADS
    heads_rows(&h);
    Py_END_ALLOW_THREADS
    let_go(views, 4);
    Py_RETURN_NONE;
}
