/* What the files that intercept libc share. */
#ifndef METERCAST_LIBC_CALLS_H
#define METERCAST_LIBC_CALLS_H

#include "engine.h"

#if defined(__linux__) && defined(__GLIBC__) && (defined(__x86_64__) || defined(__aarch64__)) && __SIZEOF_POINTER__ == 8
#define METERCAST_INTERCEPTS

/* A function that is called in the place of libc's of that name. */
typedef struct {
    const char *name;
    void *function;
} Replacement;

/* stdio.c; ends with a row of NULL */
extern const Replacement metercast_stdio[];

/* When a call on a descriptor began; 0: nothing is to be counted. */
int64_t metercast_call_starts(int descriptor);
/* Count the bytes of a call on a descriptor that began at `started_ns` and ends now. */
void metercast_count(int descriptor, int is_write, int64_t started_ns, int64_t size);
/* The descriptor is being closed. */
void metercast_forget(int descriptor);

#endif
#endif
