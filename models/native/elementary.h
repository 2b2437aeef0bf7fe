/* Elementary functions of 32 bits without a branch, so that a loop over them becomes one of vectors. */
#ifndef METERCAST_ELEMENTARY_H
#define METERCAST_ELEMENTARY_H
#include <stdint.h>

/* e^x to 2e-7 of itself (Cephes' polynomial), between e^-87 and e^87. */
static inline float exponential(float x) {
    x = x > 87.0f ? 87.0f : x < -87.0f ? -87.0f : x;
    const float turns = x * 1.44269504f + 12582912.0f; /* rounds: the last bits are the whole number */
    const float whole = turns - 12582912.0f;
    const float r = x - whole * 0.693359375f + whole * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f, p = p * r + 8.3334519073e-3f, p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f, p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    union { float value; int32_t bits; } power = {.bits = ((int32_t)whole + 127) << 23};
    return p * power.value;
}

/* log(x) for x of at least 1e-30: the mantissa between sqrt(1/2) and sqrt(2), and its exponent. */
static inline float logarithm(float x) {
    union { float value; int32_t bits; } of = {.value = x};
    const int32_t power = (of.bits - 0x3f3504f3) >> 23;
    of.bits -= power * (1 << 23);
    const float s = (of.value - 1.0f) / (of.value + 1.0f), q = s * s;
    const float p = 1.0f + q * (1 / 3.0f + q * (1 / 5.0f + q * (1 / 7.0f + q * (1 / 9.0f))));
    return 2.0f * s * p + (float)power * 0.69314718f;
}

#endif
