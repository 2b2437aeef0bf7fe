/* Clocks: elapsed time by the processor's counter where the kernel trusts it, the exact CPU clock of a thread, and
 * whether a thread has stayed on its processor since it last asked, told by the kernel without a system call.
 */
#ifndef METERCAST_CLOCK_H
#define METERCAST_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Nanoseconds = base_ns + ((counter - base_counter) * multiplier >> 32); multiplier 0: CLOCK_MONOTONIC is read. */
typedef struct {
    uint64_t multiplier, base_counter;
    int64_t base_ns;
} Counter;

extern Counter metercast_counter;

static inline int64_t read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

#if defined(__x86_64__) && defined(__linux__)
static inline uint64_t read_counter(void) { return __builtin_ia32_rdtsc(); }
#else
static inline uint64_t read_counter(void) { return 0; }
#endif

static inline int64_t elapsed_clock(void) {
#if defined(__x86_64__) && defined(__linux__)
    if (metercast_counter.multiplier) {
        unsigned __int128 passed = read_counter() - metercast_counter.base_counter;
        return metercast_counter.base_ns + (int64_t)(passed * metercast_counter.multiplier >> 32);
    }
#endif
    return read_clock(CLOCK_MONOTONIC);
}

static inline int64_t cpu_clock(void) { return read_clock(CLOCK_THREAD_CPUTIME_ID); }

/* Restartable sequences (Linux 4.18, registered by glibc 2.35): when a thread has left its processor, or a signal has
 * interrupted it, the kernel clears its pointer to a critical section that it is not in. A pointer that is still there
 * says that all elapsed time since it was set was CPU time of this thread. */
struct metercast_section {
    uint32_t version, flags;
    uint64_t start, length, abort;
} __attribute__((aligned(32)));

extern struct metercast_section metercast_section;
extern int metercast_has_sections;

#if defined(__x86_64__) && defined(__linux__)
extern const ptrdiff_t __rseq_offset __attribute__((weak));

static inline volatile uint64_t *section_pointer(void) {
    char *thread;
    __asm__("movq %%fs:0, %0" : "=r"(thread));
    return (volatile uint64_t *)(thread + __rseq_offset + 8);
}

static inline void watch_processor(void) {
    if (metercast_has_sections) *section_pointer() = (uint64_t)(uintptr_t)&metercast_section;
}

static inline int has_stayed_on_processor(void) {
    return metercast_has_sections && *section_pointer() == (uint64_t)(uintptr_t)&metercast_section;
}
#else
static inline void watch_processor(void) {}
static inline int has_stayed_on_processor(void) { return 0; }
#endif

/* Learn what this machine offers, once; takes up to 3 ms. */
void metercast_prepare_clocks(void);

#endif
