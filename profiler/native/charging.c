/* Charges CPU and waiting time of threads to executions, boundary by boundary; see metercast/engine.py for the rules.
 *
 * Calls do not become records one by one: each thread adds up what the calls of one type used; at a boundary the sums go
 * to the execution, which records them once, when it ends or has been open for long. The thread clock is a system call,
 * so a span in which the thread has not left its processor is charged its elapsed time, which is the same; where the
 * kernel does not tell that, so is a span below SHORT_NS. The next reading takes what was charged from what the clock
 * says, so that all that is charged adds up to the clock.
 */
#include "engine.h"
#include <string.h>

#define SHORT_NS 10000
#define STALE_TICKS 2

_Thread_local Thread *metercast_thread __attribute__((tls_model("initial-exec")));
atomic_int metercast_is_on, metercast_times_calls = 1;
int64_t metercast_short_ns = SHORT_NS;

static Thread *threads;
static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t rings_lock = PTHREAD_MUTEX_INITIALIZER; /* guards `ring` of all threads; taken after threads_lock */
static pthread_key_t thread_key;
static atomic_ullong serials;
static int64_t calls_of_ended, attributed_of_ended_ns, moved_by_ended[2];

/* Threads ---------------------------------------------------------------------------------------------------------- */

static void thread_ends(void *value) {
    Thread *thread = value;
    metercast_thread = NULL;
    pthread_mutex_lock(&threads_lock); /* from here on nobody asks for this thread's clock */
    pthread_mutex_lock(&rings_lock);
    if (thread->ring) atomic_store(&thread->ring->writer, 0);
    thread->ring = NULL;
    pthread_mutex_unlock(&rings_lock);
    thread->last_count = counter_read(&thread->counter, 1);
    counter_close(&thread->counter);
    atomic_store(&thread->is_over, 1);
    pthread_mutex_unlock(&threads_lock);
}

void threads_have_ring(Thread *thread, Ring *ring) {
    pthread_mutex_lock(&rings_lock);
    thread->ring = ring;
    pthread_mutex_unlock(&rings_lock);
}

void threads_forget_rings(const Recording *recording) {
    pthread_mutex_lock(&threads_lock);
    pthread_mutex_lock(&rings_lock);
    for (Thread *thread = threads; thread; thread = thread->next)
        if (thread->ring && thread->ring->recording == recording) thread->ring = NULL;
    pthread_mutex_unlock(&rings_lock);
    pthread_mutex_unlock(&threads_lock);
}

int threads_init(void) { return pthread_key_create(&thread_key, thread_ends) == 0; }

Thread *thread_first_seen(void) {
    Thread *thread = calloc(1, sizeof(Thread));
    if (thread == NULL) Py_FatalError("metercast: no memory for a thread's state");
    thread->serial = atomic_fetch_add(&serials, 1) + 1;
    thread->identity = pthread_self();
    watch_processor();
    thread->elapsed_mark = elapsed_clock();
    thread->cpu_mark = cpu_clock();
    counter_open(&thread->counter);
    pthread_mutex_lock(&threads_lock);
    thread->next = threads;
    threads = thread;
    pthread_mutex_unlock(&threads_lock);
    pthread_setspecific(thread_key, thread);
    metercast_thread = thread;
    return thread;
}

static void set_charged(Thread *thread, Execution *execution) {
    Execution *before = thread->charged;
    if (before == execution) return;
    Py_XINCREF(execution);
    thread_lock(thread);
    thread->charged = execution;
    thread_unlock(thread);
    Py_XDECREF(before);
}

/* Charging, under the thread's lock --------------------------------------------------------------------------------- */

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

/* The CPU time that becomes cycles: by the counter where there is one. */
static inline int64_t counted(int64_t cpu_ns, int64_t counted_ns) {
    return metercast_counts_cycles ? counted_ns : cpu_ns;
}

/* Recording, with the GIL ------------------------------------------------------------------------------------------- */

static void record_sum(Engine *engine, Execution *execution, int code, const Sum *sum, int64_t now_ns) {
    recording_append(&engine->recording, execution, NULL,
                (Record){.ended_ns = now_ns, .cpu_ns = counted(sum->cpu_ns, sum->counted_ns), .memory = sum->memory,
                         .network = sum->network, .disk = sum->disk, .duration_ns = sum->cpu_ns,
                         .code = (uint32_t)code});
}

static void record_time(Engine *engine, Execution *execution, int64_t cpu_ns, int64_t counted_ns, int64_t wait_ns,
                        int64_t now_ns) {
    if (cpu_ns || counted_ns)
        recording_append(&engine->recording, execution, NULL,
                         (Record){.ended_ns = now_ns, .cpu_ns = counted(cpu_ns, counted_ns), .duration_ns = cpu_ns,
                                  .code = CPU_INSTRUCTION});
    if (wait_ns)
        recording_append(&engine->recording, execution, NULL,
                         (Record){.ended_ns = now_ns, .duration_ns = wait_ns, .code = WAIT});
}

static void record_charge(Engine *engine, Execution *execution, Charge *charge, int64_t now_ns) {
    Charge before = *charge;
    charge->tick = engine->tick;
    charge->cpu_ns = charge->wait_ns = charge->counted_ns = 0;
    record_time(engine, execution, before.cpu_ns, before.counted_ns, before.wait_ns, now_ns);
}

static void record_kept(Engine *engine, Execution *execution, int64_t now_ns) {
    for (uint32_t left = execution->has_sums; left; left &= left - 1) {
        int code = __builtin_ctz(left);
        Sum sum = execution->sums[code];
        execution->sums[code] = (Sum){0};
        record_sum(engine, execution, code, &sum, now_ns);
    }
    execution->has_sums = 0;
}

static int keep(Execution *execution, int code, const Sum *sum) {
    if (execution->sums == NULL) execution->sums = calloc(CODES, sizeof(Sum));
    if (execution->sums == NULL) return 0;
    Sum *kept = &execution->sums[code];
    kept->calls += sum->calls;
    kept->cpu_ns += sum->cpu_ns;
    kept->memory += sum->memory;
    kept->network += sum->network;
    kept->disk += sum->disk;
    kept->counted_ns += sum->counted_ns;
    execution->has_sums |= 1u << code;
    return 1;
}

/* Hand the sums of the thread's calls to the execution they were made for, or record them where it is not its own. */
static void pass_on_sums(Engine *engine, Thread *thread, Sum *sums, uint32_t used, Execution *execution, int is_own) {
    for (; used; used &= used - 1) {
        int code = __builtin_ctz(used);
        if (!is_own || !keep(execution, code, &sums[code]))
            record_sum(engine, execution, code, &sums[code], thread->elapsed_mark);
    }
}

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

void settle(Engine *engine, Thread *thread) {
    Sum sums[CODES];
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
    Execution *execution = thread->charged;
    if (used && execution) pass_on_sums(engine, thread, sums, used, execution, !thread->is_foreign && execution->is_open);
}

static void charge_to(Engine *engine, Thread *thread, Execution *execution) {
    thread->is_foreign = execution->own.owner != thread->serial || !execution->is_open;
    if (thread->is_foreign) thread->foreign = (Charge){.tick = engine->tick, .owner = thread->serial};
    set_charged(thread, execution);
    Charge *charge = charge_of(thread);
    if (charge->suspended_ns) {
        int64_t wait_ns = thread->elapsed_mark - charge->suspended_ns;
        if (wait_ns > 0) charge->wait_ns += wait_ns;
        charge->suspended_ns = 0;
    }
}

/* The thread turns to something else: an open execution of its own waits, anything else is recorded now. */
static void leave(Engine *engine, Thread *thread) {
    Execution *execution = thread->charged;
    if (execution->is_open && !thread->is_foreign)
        execution->own.suspended_ns = thread->elapsed_mark;
    else
        record_charge(engine, execution, charge_of(thread), thread->elapsed_mark);
}

void switch_to(Engine *engine, Execution *execution) {
    Thread *thread = this_thread();
    settle(engine, thread);
    if (thread->charged) leave(engine, thread);
    if (execution)
        charge_to(engine, thread, execution);
    else
        set_charged(thread, NULL);
}

void open_execution(Engine *engine, Thread *thread, Execution *execution, Execution *parent) {
    settle(engine, thread);
    if (thread->charged && (thread->charged != parent || thread->is_foreign)) leave(engine, thread);
    thread->is_foreign = 0;
    set_charged(thread, execution);
}

void close_execution(Engine *engine, Thread *thread, Execution *execution) {
    settle(engine, thread);
    int64_t now_ns = thread->elapsed_mark, late_bytes = metercast_end_execution(execution);
    if (late_bytes)
        recording_append(&engine->recording, execution, NULL,
                    (Record){.ended_ns = now_ns, .network = late_bytes, .code = NETWORK_RECEIVE});
    record_kept(engine, execution, now_ns);
    int64_t cpu_ns = execution->own.cpu_ns, counted_ns = execution->own.counted_ns;
    execution->own.cpu_ns = execution->own.counted_ns = 0;
    record_charge(engine, execution, &execution->own, now_ns);
    recording_append(&engine->recording, execution, metercast_executions_text,
                     (Record){.ended_ns = now_ns, .cpu_ns = counted(cpu_ns, counted_ns), .duration_ns = cpu_ns,
                              .units = 1.0, .code = CPU_INSTRUCTION});
    if (thread->charged && (thread->charged != execution || thread->is_foreign)) leave(engine, thread);
    if (execution->parent && execution->parent->is_open)
        charge_to(engine, thread, execution->parent);
    else
        set_charged(thread, NULL);
}

void resume_execution(Engine *engine, Thread *thread, Execution *execution) {
    settle(engine, thread);
    int is_parent = thread->charged && thread->charged == execution->parent && !thread->is_foreign;
    if (thread->charged && !is_parent) leave(engine, thread);
    execution->own.suspended_ns = 0;
    charge_to(engine, thread, execution);
}

void checkpoint(Engine *engine, Thread *thread, Execution *current) {
    settle(engine, thread);
    int64_t now_ns = thread->elapsed_mark;
    if (thread->charged) record_charge(engine, thread->charged, charge_of(thread), now_ns);
    for (Execution *execution = current; execution; execution = execution->parent) {
        if (execution->own.owner != thread->serial || !execution->is_open) continue;
        record_kept(engine, execution, now_ns);
        record_charge(engine, execution, &execution->own, now_ns);
    }
}

void record_stale(Engine *engine, Thread *thread) {
    if (thread->charged == NULL || engine->tick - charge_of(thread)->tick < STALE_TICKS) return;
    settle(engine, thread);
    if (!thread->is_foreign) record_kept(engine, thread->charged, thread->elapsed_mark);
    record_charge(engine, thread->charged, charge_of(thread), thread->elapsed_mark);
}

/* Flushing: every thread is settled from outside ---------------------------------------------------------------------- */

static void settle_from_outside(Engine *engine, Thread *thread) {
    Sum sums[CODES];
    clockid_t clock;
    int64_t cpu_ns = 0, counted_ns = 0, wait_ns = 0, now_ns = elapsed_clock();
    int can_read = !atomic_load(&thread->is_over) && pthread_getcpuclockid(thread->identity, &clock) == 0;
    thread_lock(thread);
    Execution *execution = (Execution *)Py_XNewRef(thread->charged);
    int is_own = execution && !thread->is_foreign && execution->is_open;
    if (can_read && execution) charge_by_clock(thread, now_ns, read_clock(clock), 0);
    charge_allocations(thread);
    if (metercast_counts_cycles)
        charge_counted(thread, can_read ? counter_read(&thread->counter, 0) : thread->last_count);
    uint32_t used = execution ? take_sums(thread, sums) : 0;
    int is_stale = execution && engine->tick - charge_of(thread)->tick >= STALE_TICKS;
    if (is_stale) {
        Charge *charge = charge_of(thread);
        cpu_ns = charge->cpu_ns, counted_ns = charge->counted_ns, wait_ns = charge->wait_ns;
        charge->cpu_ns = charge->counted_ns = charge->wait_ns = 0;
        charge->tick = engine->tick;
    }
    thread_unlock(thread);
    if (used) pass_on_sums(engine, thread, sums, used, execution, is_own);
    if (is_stale) {
        if (is_own) record_kept(engine, execution, now_ns);
        record_time(engine, execution, cpu_ns, counted_ns, wait_ns, now_ns);
    }
    Py_XDECREF(execution);
}

void collect(Engine *engine) {
    pthread_mutex_lock(&threads_lock);
    for (Thread **place = &threads; *place;) {
        Thread *thread = *place;
        settle_from_outside(engine, thread);
        if (!atomic_load(&thread->is_over)) {
            place = &thread->next;
            continue;
        }
        calls_of_ended += thread->calls;
        attributed_of_ended_ns += thread->attributed_ns;
        for (int way = 0; way < 2; way++) moved_by_ended[way] += thread->moved[way];
        *place = thread->next;
        Py_XDECREF(thread->charged);
        free(thread);
    }
    pthread_mutex_unlock(&threads_lock);
}

int64_t threads_calls(void) {
    pthread_mutex_lock(&threads_lock);
    int64_t calls = calls_of_ended;
    for (Thread *thread = threads; thread; thread = thread->next) calls += thread->calls;
    pthread_mutex_unlock(&threads_lock);
    return calls;
}

int64_t threads_attributed_ns(void) {
    pthread_mutex_lock(&threads_lock);
    int64_t attributed_ns = attributed_of_ended_ns;
    for (Thread *thread = threads; thread; thread = thread->next) attributed_ns += thread->attributed_ns;
    pthread_mutex_unlock(&threads_lock);
    return attributed_ns;
}

void threads_moved(int64_t moved[2]) {
    pthread_mutex_lock(&threads_lock);
    for (int way = 0; way < 2; way++) {
        moved[way] = moved_by_ended[way];
        for (Thread *thread = threads; thread; thread = thread->next) moved[way] += thread->moved[way];
    }
    pthread_mutex_unlock(&threads_lock);
}

void threads_after_fork(Engine *engine, Execution *current) {
    Thread *thread = this_thread();
    pthread_mutex_init(&threads_lock, NULL);
    pthread_mutex_init(&rings_lock, NULL);
    threads = thread;
    thread->next = NULL;
    thread->serial = atomic_fetch_add(&serials, 1) + 1;
    memset(thread->sums, 0, sizeof thread->sums);
    thread->used = 0;
    thread->calls = thread->attributed_ns = calls_of_ended = attributed_of_ended_ns = 0;
    memset(thread->moved, 0, sizeof thread->moved);
    memset(moved_by_ended, 0, sizeof moved_by_ended);
    thread->claimed_ns = thread->claimed_new_ns = thread->uncounted_ns = 0;
    counter_close(&thread->counter); /* which is the parent's */
    counter_open(&thread->counter);
    thread->allocated_mark = thread->allocated;
    atomic_flag_clear(&thread->lock);
    watch_processor();
    thread->elapsed_mark = elapsed_clock();
    thread->cpu_mark = cpu_clock();
    set_charged(thread, NULL);
    for (Execution *one = current; one; one = one->parent) {
        one->own = (Charge){.tick = engine->tick, .owner = thread->serial};
        if (one->sums) memset(one->sums, 0, CODES * sizeof(Sum));
        one->has_sums = 0;
    }
    switch_to(engine, current);
}
