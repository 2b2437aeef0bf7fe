/* Opens, reads and scales the processor's counters: see the manual page of perf_event_open for all that is done here. */
#define _GNU_SOURCE
#include "counters.h"

int metercast_counts_cycles;

int64_t counter_scaled(uint64_t count, uint64_t enabled, uint64_t running) {
    if (running == 0) return -1; /* never on the processor's counter */
    if (running >= enabled) return (int64_t)count;
    return (int64_t)((unsigned __int128)count * enabled / running);
}

#if defined(__linux__)
#include <errno.h>
#include <linux/perf_event.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 4096

static struct perf_event_attr chosen;
static int64_t cycles_a_second;

static int open_event(struct perf_event_attr *event) {
    return (int)syscall(SYS_perf_event_open, event, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
}

#if defined(__x86_64__)
static inline uint64_t read_processor(uint32_t counter) { return __builtin_ia32_rdpmc((int)counter); }
#endif

/* The count from the page, without a call; -1: the page does not tell it now. */
static int64_t read_page(const volatile struct perf_event_mmap_page *page) {
#if defined(__x86_64__)
    for (;;) {
        uint32_t lock = page->lock, index;
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        uint64_t enabled = page->time_enabled, running = page->time_running, count = (uint64_t)page->offset;
        if (!page->cap_user_rdpmc || (index = page->index) == 0 || enabled != running) return -1;
        int unused = 64 - page->pmc_width;
        count += (uint64_t)((int64_t)(read_processor(index - 1) << unused) >> unused);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (page->lock == lock) return (int64_t)count;
    }
#else
    (void)page;
    return -1;
#endif
}

void counter_open(Counted *counter) {
    *counter = (Counted){.is_tried = metercast_counts_cycles};
    if (!metercast_counts_cycles) return;
    struct perf_event_attr event = chosen;
    int descriptor = open_event(&event);
    if (descriptor < 0) return;
    void *page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, descriptor, 0);
    counter->descriptor = descriptor;
    counter->page = page == MAP_FAILED ? NULL : page;
    counter->mark = counter_read(counter, 1);
}

void counter_close(Counted *counter) {
    if (counter->page) munmap(counter->page, PAGE);
    if (counter->descriptor) close(counter->descriptor);
    counter->page = NULL, counter->descriptor = 0;
}

int64_t counter_read(const Counted *counter, int is_own) {
    uint64_t told[3]; /* count, ns enabled, ns running */
    if (counter->descriptor == 0) return -1;
    int64_t count = is_own && counter->page ? read_page(counter->page) : -1;
    if (count >= 0) return count;
    if (read(counter->descriptor, told, sizeof told) != sizeof told) return -1;
    return counter_scaled(told[0], told[1], told[2]);
}

int64_t counter_passed_ns(Counted *counter, int64_t count) {
    if (count < 0 || counter->mark < 0) {
        counter->mark = count;
        return -1;
    }
    if (count < counter->mark) return 0; /* a scaled count may run ahead; the next ones make up for it */
    __int128 passed = (__int128)(count - counter->mark) * 1000000000 + counter->carried;
    counter->mark = count;
    counter->carried = (int64_t)(passed % cycles_a_second);
    return (int64_t)(passed / cycles_a_second);
}

/* Whether the counter of a thread can be opened, and read without a call where that is asked for. */
static int can_count(int needs_page) {
    Counted counter;
    metercast_counts_cycles = 1;
    counter_open(&counter);
    int error = errno, is_open = counter.descriptor != 0;
    int is_mapped = is_open && counter.page && read_page(counter.page) >= 0;
    counter_close(&counter);
    metercast_counts_cycles = is_open && (is_mapped || !needs_page);
    errno = is_open ? EOPNOTSUPP : error;
    return metercast_counts_cycles;
}

const char *counters_choose(const char *event, int needs_page, int64_t hz) {
    int is_clock = strcmp(event, "task-clock") == 0;
    memset(&chosen, 0, sizeof chosen);
    chosen.size = sizeof chosen;
    chosen.type = is_clock ? PERF_TYPE_SOFTWARE : PERF_TYPE_HARDWARE;
    chosen.config = is_clock ? PERF_COUNT_SW_TASK_CLOCK : PERF_COUNT_HW_CPU_CYCLES;
    chosen.read_format = PERF_FORMAT_TOTAL_TIME_ENABLED | PERF_FORMAT_TOTAL_TIME_RUNNING;
    chosen.exclude_hv = 1;
    cycles_a_second = is_clock ? 1000000000 : hz;
    if (can_count(needs_page)) return is_clock ? "task-clock" : "pmu";
    chosen.exclude_kernel = 1; /* what kernel.perf_event_paranoid = 2 allows */
    return can_count(needs_page) ? is_clock ? "task-clock" : "pmu-user" : NULL;
}
#else
#include <errno.h>
#include <stddef.h>

const char *counters_choose(const char *event, int needs_page, int64_t hz) {
    (void)event, (void)needs_page, (void)hz;
    errno = ENOSYS;
    return NULL;
}
void counter_open(Counted *counter) { *counter = (Counted){0}; }
void counter_close(Counted *counter) { (void)counter; }
int64_t counter_read(const Counted *counter, int is_own) { return (void)counter, (void)is_own, -1; }
int64_t counter_passed_ns(Counted *counter, int64_t count) { return (void)counter, (void)count, -1; }
#endif
