/* Sample paths: dependent levels of probability and the values at them; see models/paths.py. */
#include "kernels.h"

#define CELLS_INSIDE 160 /* of the table between the outer levels */
#define TINY 1e-4        /* smaller probabilities count as this one */

/* Where among the quantiles a normal score lies: k at the k-th, between them linear in probability, beyond the outer ones
 * as far as an exponential tail reaches. Cubic in every cell; the bends, at the outer levels, lie between two cells. */
typedef struct {
    double reach;        /* scores further from 0 count as this far */
    double first, width; /* of the cells */
    int cells;
    double (*cell)[4];
} Places;

typedef struct {
    const double *steps;  /* (series, horizon, levels) */
    const double *levels; /* rising, equally far apart, the lowest as far from 0 as the highest from 1 */
    const int64_t *tenant; /* (series) */
    const double *own_level, *tenant_level;  /* (draws, series), (draws, tenants) */
    const float *own_noise, *tenant_noise; /* (draws, series, horizon), (draws, tenants, horizon) */
    double *out; /* (count, series, horizon) */
    Py_ssize_t count, series, tenants, horizon, size;
    double level, memory, share;
    Places places;
} Paths;

static double normal_share(double z) { return 0.5 * erfc(-z / sqrt(2.0)); }

static double normal_density(double z) { return exp(-z * z / 2) / sqrt(2 * 3.14159265358979323846); }

/* The place of a score and its slope there, on the side that `beyond` says where a bend is. */
static void place_of(const Paths *p, double z, int beyond, double *place, double *slope) {
    const double low = p->levels[0], width = p->levels[1] - low, share = normal_share(z), density = normal_density(z);
    if (!beyond) {
        *place = (share - low) / width;
        *slope = density / width;
    } else if (z < 0) {
        *place = log(share / low) / log(p->levels[1] / low);
        *slope = density / share / log(p->levels[1] / low);
    } else {
        place_of(p, -z, 1, place, slope);
        *place = (double)(p->size - 1) - *place;
    }
}

/* The score that a share of less than half lies below, by halving. */
static double score_of(double share) {
    double low = -10, high = 0;
    for (int turn = 0; turn < 200; turn++) {
        const double middle = (low + high) / 2;
        if (normal_share(middle) < share) low = middle;
        else high = middle;
    }
    return (low + high) / 2;
}

static int fill_places(Paths *p) {
    Places *table = &p->places;
    const double outer = score_of(p->levels[0]);
    table->width = -2 * outer / CELLS_INSIDE;
    table->reach = -score_of(TINY);
    const int beyond = (int)ceil((outer + table->reach) / table->width);
    table->cells = CELLS_INSIDE + 2 * beyond;
    table->first = outer - beyond * table->width;
    table->cell = malloc(sizeof(double[4]) * (size_t)table->cells);
    if (table->cell == NULL) return 0;
    for (int at = 0; at < table->cells; at++) {
        const int outside = at < beyond || at >= beyond + CELLS_INSIDE;
        double left, right, rise, fall;
        place_of(p, table->first + at * table->width, outside, &left, &rise);
        place_of(p, table->first + (at + 1) * table->width, outside, &right, &fall);
        rise *= table->width, fall *= table->width;
        double *c = table->cell[at];
        c[0] = left, c[1] = rise, c[2] = 3 * (right - left) - 2 * rise - fall, c[3] = 2 * (left - right) + rise + fall;
    }
    return 1;
}

static inline double place_in(const Places *table, double z) {
    z = z > table->reach ? table->reach : z > -table->reach ? z : -table->reach;
    const double at = (z - table->first) / table->width;
    const int cell = at < table->cells ? (int)at : table->cells - 1;
    const double *c = table->cell[cell], t = at - cell;
    return c[0] + t * (c[1] + t * (c[2] + t * c[3]));
}

/* Every second path is drawn with the opposite sign: half the draws, and means and medians that scatter less. */
static void draw(const Paths *p) {
    const double fresh = sqrt(1 - p->memory * p->memory), kept = sqrt(p->level), rest = sqrt(1 - p->level);
    const double common = sqrt(p->share), own = sqrt(1 - p->share);
    const Py_ssize_t last = p->size - 2;
    for (Py_ssize_t row = 0; row < p->series; row++)
        for (Py_ssize_t path = 0; path < p->count; path++) {
            const double sign = path % 2 ? -1 : 1;
            const Py_ssize_t tenant = path / 2 * p->tenants + p->tenant[row], at = path / 2 * p->series + row;
            const float *noise = p->own_noise + at * p->horizon, *shared = p->tenant_noise + tenant * p->horizon;
            const double level = kept * (common * p->tenant_level[tenant] + own * p->own_level[at]);
            const double *quantiles = p->steps + row * p->horizon * p->size;
            double *out = p->out + (path * p->series + row) * p->horizon, state = 0;
            for (Py_ssize_t step = 0; step < p->horizon; step++, quantiles += p->size) {
                /* Both parts have the same memory, so their sum is carried on as one. */
                const double now = common * (double)shared[step] + own * (double)noise[step];
                state = step ? p->memory * state + fresh * now : now;
                const double place = place_in(&p->places, sign * (level + rest * state));
                Py_ssize_t index = place > 0 ? (Py_ssize_t)place : 0;
                index = index < last ? index : last;
                const double value =
                    quantiles[index] + (place - (double)index) * (quantiles[index + 1] - quantiles[index]);
                out[step] = value > 0 ? value : 0;
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
    const Py_ssize_t draws = (p.count + 1) / 2, own = draws * p.series, shared = draws * p.tenants;
    const Wanted wanted[8] = {{8, p.series * p.horizon * p.size, 0, "steps"},
                              {8, p.size, 0, "levels"},
                              {8, p.series, 0, "tenant"},
                              {8, own, 0, "own_level"},
                              {8, shared, 0, "tenant_level"},
                              {4, own * p.horizon, 0, "own_noise"},
                              {4, shared * p.horizon, 0, "tenant_noise"},
                              {8, p.count * p.series * p.horizon, 1, "out"}};
    if (!hold(from, views, wanted, 8)) return NULL;
    p.steps = views[0].buf, p.levels = views[1].buf, p.tenant = views[2].buf, p.own_level = views[3].buf;
    p.tenant_level = views[4].buf, p.own_noise = views[5].buf, p.tenant_noise = views[6].buf, p.out = views[7].buf;
    int fits = p.levels[0] > TINY && p.levels[0] < 0.5, done = 1;
    for (Py_ssize_t row = 0; row < p.series && fits; row++) fits = p.tenant[row] >= 0 && p.tenant[row] < p.tenants;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        done = fill_places(&p);
        if (done) draw(&p);
        free(p.places.cell);
        Py_END_ALLOW_THREADS
        if (!done) PyErr_NoMemory();
    } else PyErr_Format(PyExc_ValueError, "a tenant that is not one of %zd, or levels out of reach", p.tenants);
    let_go(views, 8);
    return fits && done ? Py_NewRef(Py_None) : NULL;
}

typedef struct {
    int32_t index;
    float part; /* may lie beyond 0 or 1 in the tails */
} Between;

/* Sums of one series' paths: the value stood at while a path's draw is below the chance of that, else what it says. */
WIDE static void sum_paths(const double *restrict steps, const double *still, double value,
                           const Between *restrict between, const double *restrict waking, double *restrict sums,
                           Py_ssize_t horizon, Py_ssize_t count, Py_ssize_t size) {
    memset(sums, 0, sizeof(double) * (size_t)count);
    for (Py_ssize_t step = 0; step < horizon; step++, steps += size, between += count) {
        const double chance = still[step];
        if (chance > 0)
            for (Py_ssize_t path = 0; path < count; path++) {
                const double *low = steps + between[path].index;
                const double moved = low[0] + (double)between[path].part * (low[1] - low[0]);
                sums[path] += waking[path] < chance ? value : moved > 0 ? moved : 0;
            }
        else
            for (Py_ssize_t path = 0; path < count; path++) {
                const double *low = steps + between[path].index;
                const double moved = low[0] + (double)between[path].part * (low[1] - low[0]);
                sums[path] += moved > 0 ? moved : 0;
            }
    }
}

/* Between which quantiles each score (count, horizon) lies, step by step. */
static Between *placed(Paths *p, const double *scores) {
    Between *between = malloc(sizeof(Between) * (size_t)(p->count * p->horizon + 1));
    if (between == NULL || !fill_places(p)) {
        free(between);
        return NULL;
    }
    const Py_ssize_t last = p->size - 2;
    for (Py_ssize_t path = 0; path < p->count; path++)
        for (Py_ssize_t step = 0; step < p->horizon; step++) {
            const double place = place_in(&p->places, scores[path * p->horizon + step]);
            Py_ssize_t index = place > 0 ? (Py_ssize_t)place : 0;
            index = index < last ? index : last;
            between[step * p->count + path] = (Between){(int32_t)index, (float)(place - (double)index)};
        }
    free(p->places.cell);
    return between;
}

PyObject *path_sums(PyObject *self, PyObject *args) {
    PyObject *from[7];
    Py_buffer views[7];
    Paths p = {0};
    Between *between = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOOOOOnnn", &from[0], &from[1], &from[2], &from[3], &from[4], &from[5], &from[6],
                          &p.series, &p.horizon, &p.count))
        return NULL;
    p.size = PyObject_Length(from[3]);
    if (p.size < 2 || p.size > MOST_LEVELS || p.count < 0 || p.series < 0 || p.horizon < 0)
        return PyErr_Format(PyExc_ValueError, "%zd levels; between 2 and %d are allowed", p.size, MOST_LEVELS);
    const Wanted wanted[7] = {{8, p.series * p.horizon * p.size, 0, "steps"},
                              {8, p.series * p.horizon, 0, "still"},
                              {8, p.series, 0, "value"},
                              {8, p.size, 0, "levels"},
                              {8, p.count * p.horizon, 0, "scores"},
                              {8, p.count, 0, "waking"},
                              {8, p.series * p.count, 1, "out"}};
    if (!hold(from, views, wanted, 7)) return NULL;
    p.steps = views[0].buf, p.levels = views[3].buf, p.out = views[6].buf;
    const double *still = views[1].buf, *value = views[2].buf;
    const int fits = p.levels[0] > TINY && p.levels[0] < 0.5;
    if (fits) {
        Py_BEGIN_ALLOW_THREADS
        between = placed(&p, views[4].buf);
        for (Py_ssize_t row = 0; row < p.series && between != NULL; row++)
            sum_paths(p.steps + row * p.horizon * p.size, still + row * p.horizon, value[row], between, views[5].buf,
                      p.out + row * p.count, p.horizon, p.count, p.size);
        Py_END_ALLOW_THREADS
    }
    let_go(views, 7);
    if (!fits) return PyErr_Format(PyExc_ValueError, "levels out of reach");
    if (between == NULL) return PyErr_NoMemory();
    free(between);
    Py_RETURN_NONE;
}
