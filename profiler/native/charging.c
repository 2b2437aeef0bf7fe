/* Charges CPU and waiting time of threads to executions, boundary by boundary; see metercast/engine.py for the rules.
 *
 * Calls do not become records one by one: each thread adds up what the calls of one type used; at a boundary the sums go
 * to the execution, which records them once, when it ends or has been open for long. The thread clock is a system call,
 * so a span in which the thread has not left its processor is charged its elapsed time, which is the same; where the
 * kernel does not tell that, so is a span below SHORT_NS. The next reading takes what was charged from what the clock
 * says, so that all that is charged adds up to the clock.
 */
#include "engine.h"

#define SHORT_NS 10000

atomic_int metercast_is_on, metercast_times_calls = 1;
int64_t metercast_short_ns = SHORT_NS;

/* Under the thread's lock ------------------------------------------------------------------------------------------- */

/* Calls may have claimed more than the clock says passed (they were preempted): they give back what they can. */
static int64_t give_back(Thread *thread, int64_t excess_ns) {
    for (int code = 0; code < CODES && excess_ns > 0; code++) {
        int64_t part = thread->sums[code].cpu_ns < excess_ns ? thread->sums[code].cpu_ns : excess_ns;
        thread->sums[code].cpu_ns -= part;
        thread->attributed_ns -= part;
        excess_ns -= part;
    }
    return excess_ns;
}

/* Charge everything since the marks but what was claimed; `call_ns` is the CPU of a call that ends now. */
static void charge_by_clock(Thread *thread, int64_t now_ns, int64_t cpu_now, int64_t call_ns) {
    int64_t rest_ns = cpu_now - thread->cpu_mark - thread->claimed_ns - call_ns, debt_ns = 0;
    int64_t wait_ns = now_ns - thread->elapsed_mark - thread->claimed_new_ns - rest_ns - call_ns;
    if (rest_ns < 0) {
        debt_ns = give_back(thread, -rest_ns);
        rest_ns = 0;
    }
    if (thread->charged != NULL) {
        Charge *charge = charge_of(thread);
        charge->cpu_ns += rest_ns;
        thread->uncounted_ns += rest_ns;
        thread->attributed_ns += rest_ns;
        if (wait_ns > 0) charge->wait_ns += wait_ns;
    }
    thread->claimed_ns = debt_ns; /* what follows is charged so much less */
    thread->claimed_new_ns = 0;
    thread->cpu_mark = cpu_now;
    thread->elapsed_mark = now_ns;
}

/* The same for a span on the processor, by the elapsed clock alone. */
static void charge_by_elapsed(Thread *thread, int64_t now_ns) {
    int64_t rest_ns = now_ns - thread->elapsed_mark - thread->claimed_new_ns;
    if (rest_ns > 0) {
        if (thread->charged != NULL) {
            charge_of(thread)->cpu_ns += rest_ns;
            thread->uncounted_ns += rest_ns;
            thread->attributed_ns += rest_ns;
        }
        thread->claimed_ns += rest_ns;
    }
    thread->claimed_new_ns = 0;
    if (now_ns > thread->elapsed_mark) thread->elapsed_mark = now_ns; /* a flush may have settled meanwhile */
}

/* What the counter counted since its mark is shared out among the calls and the rest, as their time is. */
static void charge_counted(Thread *thread, int64_t count) {
    int64_t span_ns = thread->uncounted_ns, counted_ns = counter_passed_ns(&thread->counter, count);
    thread->uncounted_ns = 0;
    if (thread->charged == NULL) return;
    for (uint32_t left = thread->used; left; left &= left - 1) span_ns += thread->sums[__builtin_ctz(left)].cpu_ns;
    if (counted_ns < 0) counted_ns = span_ns; /* as if it ran at the nominal frequency */
    int64_t rest_ns = counted_ns;
    for (uint32_t left = thread->used; left && span_ns > 0; left &= left - 1) {
        Sum *sum = &thread->sums[__builtin_ctz(left)];
        sum->counted_ns = (int64_t)((__int128)counted_ns * sum->cpu_ns / span_ns);
        rest_ns -= sum->counted_ns;
    }
    charge_of(thread)->counted_ns += rest_ns;
}

static inline int needs_no_reading(int64_t span_ns) {
    return metercast_short_ns >= 0 && (has_stayed_on_processor() || span_ns < metercast_short_ns);
}

void metercast_charge_call(Thread *thread, int code, int64_t started_ns, int64_t memory, int64_t network,
                           int64_t disk) {
    int64_t call_ns = 0;
    if (started_ns <= UNTIMED) {
        thread_lock(thread);
    } else {
        int64_t now_ns = elapsed_clock(), cpu_now = 0;
        int is_cheap = needs_no_reading(now_ns - started_ns);
        if (!is_cheap) {
            watch_processor();
            now_ns = elapsed_clock();
            cpu_now = cpu_clock();
        }
        thread_lock(thread);
        if (is_cheap) {
            call_ns = now_ns - (started_ns > thread->elapsed_mark ? started_ns : thread->elapsed_mark);
            if (call_ns < 0) call_ns = 0;
            thread->claimed_ns += call_ns;
            thread->claimed_new_ns += call_ns;
        } else {
            int64_t before_ns = started_ns - thread->elapsed_mark - thread->claimed_new_ns;
            call_ns = cpu_now - thread->cpu_mark - thread->claimed_ns - (before_ns > 0 ? before_ns : 0);
            if (call_ns < 0) call_ns = 0;
            charge_by_clock(thread, now_ns, cpu_now, call_ns);
        }
        thread->attributed_ns += call_ns;
    }
    Sum *sum = &thread->sums[code];
    sum->calls++;
    sum->cpu_ns += call_ns;
    sum->memory += memory;
    sum->network += network;
    sum->disk += disk;
    thread->used |= 1u << code;
    thread->calls++;
    thread_unlock(thread);
}

/* Spans between two boundaries ---------------------------------------------------------------------------------------- */

static uint32_t take_sums(Thread *thread, Sum *sums) {
    uint32_t used = thread->used;
    for (uint32_t left = used; left; left &= left - 1) {
        int code = __builtin_ctz(left);
        sums[code] = thread->sums[code];
        thread->sums[code] = (Sum){0};
    }
    thread->used = 0;
    return used;
}

/* Under the lock: what was allocated since the mark is the charged execution's. */
static void charge_allocations(Thread *thread) {
    int64_t allocated = __atomic_load_n(&thread->allocated, __ATOMIC_RELAXED), size = allocated - thread->allocated_mark;
    if (size == 0) return;
    thread->allocated_mark = allocated;
    if (thread->charged == NULL) return;
    thread->sums[MEMORY_ALLOC].calls++;
    thread->sums[MEMORY_ALLOC].memory += size;
    thread->used |= 1u << MEMORY_ALLOC;
}

/* Counting began after this thread: the time until now is charged as if it ran at the nominal frequency. */
static void begin_counting(Thread *thread) {
    counter_open(&thread->counter);
    thread->counter.mark = -1;
}

uint32_t charge_span(Thread *thread, Sum *sums) {
    int64_t now_ns = elapsed_clock(), cpu_now = 0;
    int is_cheap = needs_no_reading(now_ns - thread->elapsed_mark);
    if (!is_cheap) {
        watch_processor();
        now_ns = elapsed_clock();
        cpu_now = cpu_clock();
    }
    if (metercast_counts_cycles && !thread->counter.is_tried) begin_counting(thread);
    thread_lock(thread);
    if (is_cheap)
        charge_by_elapsed(thread, now_ns);
    else
        charge_by_clock(thread, now_ns, cpu_now, 0);
    charge_allocations(thread);
    if (metercast_counts_cycles) charge_counted(thread, counter_read(&thread->counter, 1));
    uint32_t used = thread->used ? take_sums(thread, sums) : 0;
    thread_unlock(thread);
    return used;
}

Outside charge_from_outside(Thread *thread, int64_t stale_before_tick, int64_t tick) {
    Outside found = {.now_ns = elapsed_clock()};
    clockid_t clock;
    int can_read = !atomic_load(&thread->is_over) && pthread_getcpuclockid(thread->identity, &clock) == 0;
    thread_lock(thread);
    found.execution = (Execution *)Py_XNewRef(thread->charged);
    found.is_own = found.execution && !thread->is_foreign && found.execution->is_open;
    if (can_read && found.execution) charge_by_clock(thread, found.now_ns, read_clock(clock), 0);
    charge_allocations(thread);
    if (metercast_counts_cycles)
        charge_counted(thread, can_read ? counter_read(&thread->counter, 0) : thread->last_count);
    found.used = found.execution ? take_sums(thread, found.sums) : 0;
    found.is_stale = found.execution && charge_of(thread)->tick <= stale_before_tick;
    if (found.is_stale) {
        Charge *charge = charge_of(thread);
        found.charge = *charge;
        charge->cpu_ns = charge->counted_ns = charge->wait_ns = 0;
        charge->tick = tick;
    }
    thread_unlock(thread);
    return found;
}
