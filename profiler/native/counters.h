/* Cycles of a thread by the processor's own counter, where the machine shows one (perf_event_open). */
#ifndef METERCAST_COUNTERS_H
#define METERCAST_COUNTERS_H

#include <stdint.h>

typedef struct {
    int descriptor, is_tried; /* 0: none */
    void *page;     /* what the kernel shows of the counter, to be read without a call; NULL: not mapped */
    int64_t mark;   /* the count at the last boundary */
    int64_t carried; /* of the last conversion to time, in cycles x 10^9 */
} Counted;

extern int metercast_counts_cycles;

/* Choose what threads count from now on: `cycles`, or `task-clock`, which counts ns and which every machine has; and the
 * cycles of a second. `needs_page`: only where it is read without a call. NULL: it cannot be counted here, errno says why;
 * else the `source` of figures. */
const char *counters_choose(const char *event, int needs_page, int64_t hz);
void counter_open(Counted *counter); /* of the calling thread, from here on */
void counter_close(Counted *counter);
/* The count so far; -1: it cannot be read. `is_own`: the thread is the calling one. */
int64_t counter_read(const Counted *counter, int is_own);
/* What has been counted since the mark as CPU time at the nominal frequency, in ns; -1: nothing can be told. */
int64_t counter_passed_ns(Counted *counter, int64_t count);

/* A count that had a counter of the processor for a part of the time only, for all of it. */
int64_t counter_scaled(uint64_t count, uint64_t enabled, uint64_t running);

#endif
