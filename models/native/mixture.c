/* The mixture of distributions that are given by quantiles: see models/mixing.py.
 *
 * Some windows at a time lie side by side in lanes, and their values are put in order by a network of comparators
 * (Batcher's odd-even merge; Knuth, 5.3.4), which asks for no branch. Which list a value is of is told by its last bits.
 */
#include "kernels.h"

#define LANES 8
#define MOST_VALUES (MOST_MEMBERS * MOST_LEVELS)
#define MOST_COMPARATORS 2048
#define MOST_PARTS 64

/* Comparators in order, and where the values lie in rising order after them. */
typedef struct {
    int count, values;
    uint8_t low[MOST_COMPARATORS], high[MOST_COMPARATORS], order[MOST_VALUES];
} Network;

typedef union {
    double value;
    uint64_t bits;
} Tagged;

typedef struct {
    const double *list[MOST_PARTS]; /* forecasts (rows, horizon, size) of each part */
    const int64_t *place;           /* (series, members, 2): part and row */
    const double *weight;           /* (series, members) */
    double *out;                    /* (series, horizon, size) */
    Py_ssize_t series, members, horizon, size;
} Mixture;

/* Two rising lists of places become one, by comparing places. */
static void merge(Network *n, const uint8_t *one, int first, const uint8_t *two, int second, uint8_t *out) {
    uint8_t a[MOST_VALUES], b[MOST_VALUES], outer[MOST_VALUES], inner[MOST_VALUES];
    if (first == 0 || second == 0) {
        memcpy(out, one, (size_t)first);
        memcpy(out + first, two, (size_t)second);
        return;
    }
    if (first == 1 && second == 1) {
        n->low[n->count] = out[0] = one[0], n->high[n->count++] = out[1] = two[0];
        return;
    }
    for (int odd = 0; odd < 2; odd++) {
        int i = 0, j = 0;
        for (int at = odd; at < first; at += 2) a[i++] = one[at];
        for (int at = odd; at < second; at += 2) b[j++] = two[at];
        merge(n, a, i, b, j, odd ? inner : outer);
    }
    const int inside = first / 2 + second / 2, outside = first + second - inside;
    int to = 0;
    out[to++] = outer[0];
    for (int at = 0; at < inside || at + 1 < outside; at++) {
        if (at < inside && at + 1 < outside) n->low[n->count] = inner[at], n->high[n->count++] = outer[at + 1];
        if (at < inside) out[to++] = inner[at];
        if (at + 1 < outside) out[to++] = outer[at + 1];
    }
}

/* The network that orders so many rising lists of ``size``; 8 lists of 16 need 967 comparators. */
static void build(Network *n, int lists, int size) {
    uint8_t from[MOST_VALUES], to[MOST_VALUES];
    int length[MOST_MEMBERS];
    n->count = 0, n->values = lists * size;
    for (int at = 0; at < n->values; at++) from[at] = (uint8_t)at;
    for (int one = 0; one < lists; one++) length[one] = size;
    while (lists > 1) {
        int start = 0, left = 0;
        for (int one = 0; one + 1 < lists; one += 2) {
            merge(n, from + start, length[one], from + start + length[one], length[one + 1], to + start);
            start += length[left++] = length[one] + length[one + 1];
        }
        if (lists % 2) memcpy(to + start, from + start, (size_t)(length[left] = length[lists - 1])), left++;
        memcpy(from, to, sizeof from);
        lists = left;
    }
    memcpy(n->order, from, sizeof from);
}

/* The smaller of each two goes to the lower place: bits are exchanged under a mask. */
WIDE static void compare(const Network *n, Tagged (*restrict values)[LANES]) {
    for (int at = 0; at < n->count; at++) {
        Tagged *low = values[n->low[at]], *high = values[n->high[at]];
#ifdef __GNUC__ /* which would compare lane by lane in a loop */
        typedef double Values __attribute__((vector_size(32)));
        typedef int64_t Bits __attribute__((vector_size(32)));
        for (int part = 0; part < LANES; part += 4) {
            Values one, two;
            memcpy(&one, low + part, sizeof one);
            memcpy(&two, high + part, sizeof two);
            const Bits change = ((Bits)one ^ (Bits)two) & (one > two);
            one = (Values)((Bits)one ^ change), two = (Values)((Bits)two ^ change);
            memcpy(low + part, &one, sizeof one);
            memcpy(high + part, &two, sizeof two);
        }
#else
        for (int lane = 0; lane < LANES; lane++) {
            const Tagged one = low[lane], two = high[lane];
            const int wrong = one.value > two.value;
            low[lane] = wrong ? two : one, high[lane] = wrong ? one : two;
        }
#endif
    }
}

/* The quantiles of ordered values between the middles of their shares, at (k + 1/2) / size: (size, LANES). */
WIDE static void read_off(const Network *n, Tagged (*restrict values)[LANES], const double *share, uint64_t tag,
                          Py_ssize_t size, double (*restrict out)[LANES]) {
    double middle[MOST_VALUES + 1][LANES], value[MOST_VALUES + 1][LANES], reached[LANES] = {0};
    for (int at = 0; at < n->values; at++)
        for (int lane = 0; lane < LANES; lane++) {
            Tagged one = values[n->order[at]][lane];
            const double mass = share[one.bits & tag];
            one.bits &= ~tag;
            middle[at + 1][lane] = reached[lane] + mass / 2, value[at + 1][lane] = one.value;
            reached[lane] += mass;
        }
    for (int lane = 0; lane < LANES; lane++) middle[0][lane] = 0, value[0][lane] = value[1][lane];
    for (Py_ssize_t wanted = 0; wanted < size; wanted++) {
        const double level = ((double)wanted + 0.5) / (double)size;
        int64_t below[LANES] = {0};
        for (int at = 1; at <= n->values; at++)
            for (int lane = 0; lane < LANES; lane++) below[lane] += middle[at][lane] < level;
        for (int lane = 0; lane < LANES; lane++) {
            const int64_t low = below[lane], high = low < n->values ? low + 1 : low;
            const double gap = middle[high][lane] - middle[low][lane];
            const double part = (level - middle[low][lane]) / (gap > 1e-12 ? gap : 1e-12);
            const double bottom = value[low][lane];
            out[wanted][lane] = bottom + (part < 1 ? part : 1) * (value[high][lane] - bottom);
        }
    }
}

/* Quantiles of one series, of which ``lists`` members have a say. */
static void mix(const Mixture *m, const Network *n, const double *const *list, const double *share, int lists,
                double *to) {
    Tagged values[MOST_VALUES][LANES];
    double out[MOST_LEVELS][LANES];
    uint64_t tag = 0;
    while (tag + 1 < (uint64_t)lists) tag = 2 * tag + 1;
    for (Py_ssize_t first = 0; first < m->horizon; first += LANES) {
        const Py_ssize_t here = m->horizon - first < LANES ? m->horizon - first : LANES;
        for (int one = 0; one < lists; one++)
            for (int lane = 0; lane < LANES; lane++) {
                const double *from = list[one] + (first + (lane < here ? lane : 0)) * m->size;
                for (Py_ssize_t at = 0; at < m->size; at++) {
                    Tagged *tagged = &values[one * m->size + at][lane];
                    tagged->value = from[at];
                    tagged->bits = (tagged->bits & ~tag) | (uint64_t)one;
                }
            }
        compare(n, values);
        read_off(n, values, share, tag, m->size, out);
        for (Py_ssize_t lane = 0; lane < here; lane++)
            for (Py_ssize_t at = 0; at < m->size; at++) to[(first + lane) * m->size + at] = out[at][lane];
    }
}

static void mix_all(const Mixture *m, const Network *networks) {
    for (Py_ssize_t row = 0; row < m->series; row++) {
        const double *list[MOST_MEMBERS];
        double share[MOST_MEMBERS];
        int lists = 0;
        for (Py_ssize_t one = row * m->members; one < (row + 1) * m->members; one++)
            if (m->weight[one] > 0) {
                share[lists] = m->weight[one] / (double)m->size;
                list[lists++] = m->list[m->place[2 * one]] + m->place[2 * one + 1] * m->horizon * m->size;
            }
        double *to = m->out + row * m->horizon * m->size;
        if (lists == 0) memset(to, 0, sizeof(double) * (size_t)(m->horizon * m->size));
        else if (lists == 1) memcpy(to, list[0], sizeof(double) * (size_t)(m->horizon * m->size));
        else mix(m, &networks[lists], list, share, lists, to);
    }
}

/* Whether every place with a weight is one of the parts' rows. */
static int places_fit(const Mixture *m, const Py_ssize_t *rows, Py_ssize_t parts) {
    for (Py_ssize_t at = 0; at < m->series * m->members; at++) {
        const int64_t part = m->place[2 * at], row = m->place[2 * at + 1];
        if (m->weight[at] > 0 && (part < 0 || part >= parts || row < 0 || row >= rows[part])) return 0;
    }
    return 1;
}

static int mixed(Mixture *m, const Py_ssize_t *rows, Py_ssize_t parts) {
    if (!places_fit(m, rows, parts)) {
        PyErr_SetString(PyExc_ValueError, "a place that is not a row of a part");
        return 0;
    }
    Network *networks = malloc(sizeof(Network) * (MOST_MEMBERS + 1));
    if (networks == NULL) return PyErr_NoMemory() != NULL;
    Py_BEGIN_ALLOW_THREADS
    for (int lists = 2; lists <= m->members; lists++) build(&networks[lists], lists, (int)m->size);
    mix_all(m, networks);
    Py_END_ALLOW_THREADS
    free(networks);
    return 1;
}

PyObject *mixture(PyObject *self, PyObject *args) {
    PyObject *parts, *from[MOST_PARTS + 3];
    Py_buffer views[MOST_PARTS + 3];
    Wanted wanted[MOST_PARTS + 3];
    Py_ssize_t rows[MOST_PARTS];
    Mixture m;
    (void)self;
    if (!PyArg_ParseTuple(args, "O!OOOnnnn", &PyTuple_Type, &parts, &from[0], &from[1], &from[2], &m.series, &m.members,
                          &m.horizon, &m.size))
        return NULL;
    const Py_ssize_t count = PyTuple_GET_SIZE(parts), each = m.horizon * m.size, pairs = m.series * m.members;
    if (count > MOST_PARTS || m.members < 1 || m.members > MOST_MEMBERS || m.series < 0 || m.horizon < 0 || m.size < 1 ||
        m.size > MOST_LEVELS)
        return PyErr_Format(PyExc_ValueError, "%zd members; between 1 and %d are allowed", m.members, MOST_MEMBERS);
    wanted[0] = (Wanted){8, 2 * pairs, 0, "places"}, wanted[1] = (Wanted){8, pairs, 0, "weights"};
    wanted[2] = (Wanted){8, m.series * each, 1, "out"};
    for (Py_ssize_t at = 0; at < count; at++) {
        from[3 + at] = PyTuple_GET_ITEM(parts, at);
        rows[at] = PyObject_Length(from[3 + at]);
        if (rows[at] < 0) return NULL;
        wanted[3 + at] = (Wanted){8, rows[at] * each, 0, "forecasts"};
    }
    if (!hold(from, views, wanted, (int)count + 3)) return NULL;
    m.place = views[0].buf, m.weight = views[1].buf, m.out = views[2].buf;
    for (Py_ssize_t at = 0; at < count; at++) m.list[at] = views[3 + at].buf;
    const int done = mixed(&m, rows, count);
    let_go(views, (int)count + 3);
    return done ? Py_NewRef(Py_None) : NULL;
}
