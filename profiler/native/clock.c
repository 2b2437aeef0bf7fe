/* Finds out which of the cheap clocks can be trusted on this machine, and calibrates the processor's counter. */
#define _GNU_SOURCE
#include "clock.h"
#include <stdio.h>
#include <string.h>

Counter metercast_counter;
int metercast_has_sections;
struct metercast_section metercast_section;

#if defined(__x86_64__) && defined(__linux__)
extern const unsigned int __rseq_size __attribute__((weak));

/* The kernel looks for this number, which glibc registers, before the address it would jump to; it never jumps here. */
static const uint32_t signature_and_target[2] = {0x53053053, 0};

static int counter_is_trusted(void) {
    char name[16] = "";
    FILE *file = fopen("/sys/devices/system/clocksource/clocksource0/current_clocksource", "re");
    if (file == NULL) return 0;
    int is_read = fgets(name, sizeof name, file) != NULL;
    fclose(file);
    return is_read && strcmp(name, "tsc\n") == 0;
}

/* Counter and clock at one moment: of some readings the one that took least. */
static void read_both(uint64_t *counter, int64_t *clock_ns) {
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 8; i++) {
        uint64_t before = read_counter();
        int64_t now_ns = read_clock(CLOCK_MONOTONIC);
        uint64_t took = read_counter() - before;
        if (took >= least) continue;
        least = took;
        *counter = before + took / 2;
        *clock_ns = now_ns;
    }
}

static void calibrate_counter(void) {
    uint64_t first = 0, last = 0;
    int64_t first_ns = 0, last_ns = 0;
    const struct timespec pause = {0, 2000000};
    if (!counter_is_trusted()) return;
    read_both(&first, &first_ns);
    nanosleep(&pause, NULL);
    read_both(&last, &last_ns);
    if (last <= first || last_ns <= first_ns) return;
    metercast_counter.base_counter = last;
    metercast_counter.base_ns = last_ns;
    metercast_counter.multiplier = (uint64_t)(((unsigned __int128)(last_ns - first_ns) << 32) / (last - first));
}

/* A pause leaves the processor, so the pointer must be gone after it, and must not be before. */
static void try_sections(void) {
    const struct timespec pause = {0, 1000};
    if (&__rseq_size == NULL || &__rseq_offset == NULL || __rseq_size == 0) return;
    metercast_section.start = (uint64_t)(uintptr_t)signature_and_target;
    metercast_section.abort = (uint64_t)(uintptr_t)&signature_and_target[1];
    metercast_section.length = 0;
    metercast_has_sections = 1;
    int stayed = 0, left = 0;
    for (int i = 0; i < 5; i++) {
        watch_processor();
        stayed += has_stayed_on_processor();
        nanosleep(&pause, NULL);
        left += !has_stayed_on_processor();
    }
    metercast_has_sections = stayed > 0 && left == 5;
}

void metercast_prepare_clocks(void) {
    static int is_prepared;
    if (is_prepared) return;
    is_prepared = 1;
    calibrate_counter();
    try_sections();
}
#else
void metercast_prepare_clocks(void) {}
#endif
