/* Decimal numbers as the nearest doubles: by one division where all digits are there, by Python where they are not. */
#ifndef METERCAST_JSON_NUMBERS_H
#define METERCAST_JSON_NUMBERS_H
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    const uint8_t *text;
    Py_ssize_t length;
    uint64_t digits; /* all of them, without point and sign; only where there are at most 18 */
    int count, fraction, negative, is_float;
} Number;

static int slow_double(const Number *n, double *value) {
    char copy[64];
    if (n->length >= (Py_ssize_t)sizeof copy) return 0;
    memcpy(copy, n->text, (size_t)n->length);
    copy[n->length] = 0;
    *value = PyOS_string_to_double(copy, NULL, NULL);
    if (*value == -1.0 && PyErr_Occurred()) {
        PyErr_Clear();
        return 0;
    }
    return isfinite(*value);
}

/* The double nearest to digits / 10^fraction, half to even: a division with all its bits, as a time in epoch seconds with
 * seven decimals needs more than 53. */
static inline int divided(const Number *n, double *value) {
#ifdef __SIZEOF_INT128__
    static const uint64_t POWERS[] = {UINT64_C(1),
                                      UINT64_C(10),
                                      UINT64_C(100),
                                      UINT64_C(1000),
                                      UINT64_C(10000),
                                      UINT64_C(100000),
                                      UINT64_C(1000000),
                                      UINT64_C(10000000),
                                      UINT64_C(100000000),
                                      UINT64_C(1000000000)};
    if (n->digits == 0 || n->fraction > 9) return 0;
    uint64_t by = POWERS[n->fraction];
    int up = 63 - (64 - __builtin_clzll(n->digits)) + (64 - __builtin_clzll(by));
    unsigned __int128 shifted = (unsigned __int128)n->digits << up;
    uint64_t quotient = (uint64_t)(shifted / by); /* of 63 or 64 bits */
    int is_inexact = (unsigned __int128)quotient * by != shifted;
    int down = 64 - __builtin_clzll(quotient) - 53;
    uint64_t half = UINT64_C(1) << (down - 1), rest = quotient & (2 * half - 1), mantissa = quotient >> down;
    mantissa += rest > half || (rest == half && (is_inexact || (mantissa & 1)));
    *value = ldexp((double)mantissa, down - up);
    return 1;
#else
    (void)n, (void)value;
    return 0;
#endif
}

/* Exact at once where all digits fit into 53 bits and the power of ten is at most 22 (Clinger 1990). */
static inline int as_double(const Number *n, double *value) {
    static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                    1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};
    if (n->count > 18) return slow_double(n, value);
    if (n->digits <= (UINT64_C(1) << 53))
        *value = n->fraction ? (double)n->digits / POWERS[n->fraction] : (double)n->digits;
    else if (!divided(n, value)) return slow_double(n, value);
    if (n->negative) *value = -*value;
    return 1;
}
#endif
