/* Where an operation begins, ends or gives way to another: what was charged since the last boundary is handed to it, and
 * recorded when it ends or has been open for long. All of it needs the GIL.
 */
#include "engine.h"

#define STALE_TICKS 2

/* The CPU time that becomes cycles: by the counter where there is one. */
static inline int64_t counted(int64_t cpu_ns, int64_t counted_ns) {
    return metercast_counts_cycles ? counted_ns : cpu_ns;
}

/* Recording ---------------------------------------------------------------------------------------------------------- */

static void record_sum(Engine *engine, Execution *execution, int code, const Sum *sum, int64_t now_ns) {
    recording_append(&engine->recording, execution, NULL,
                     (Record){.ended_ns = now_ns, .cpu_ns = counted(sum->cpu_ns, sum->counted_ns), .memory = sum->memory,
                         .network = sum->network, .disk = sum->disk, .duration_ns = sum->cpu_ns,
                         .code = (uint32_t)code});
}

static void record_time(Engine *engine, Execution *execution, const Charge *charge, int64_t now_ns) {
    if (charge->cpu_ns || charge->counted_ns)
        recording_append(&engine->recording, execution, NULL,
                         (Record){.ended_ns = now_ns, .cpu_ns = counted(charge->cpu_ns, charge->counted_ns),
                                  .duration_ns = charge->cpu_ns, .code = CPU_INSTRUCTION});
    if (charge->wait_ns)
        recording_append(&engine->recording, execution, NULL,
                         (Record){.ended_ns = now_ns, .duration_ns = charge->wait_ns, .code = WAIT});
}

static void record_charge(Engine *engine, Execution *execution, Charge *charge, int64_t now_ns) {
    Charge before = *charge;
    charge->tick = engine->tick;
    charge->cpu_ns = charge->wait_ns = charge->counted_ns = 0;
    record_time(engine, execution, &before, now_ns);
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

/* Boundaries ----------------------------------------------------------------------------------------------------------- */

void settle(Engine *engine, Thread *thread) {
    Sum sums[CODES];
    uint32_t used = charge_span(thread, sums);
    Execution *execution = thread->charged;
    if (used && execution) pass_on_sums(engine, thread, sums, used, execution, !thread->is_foreign && execution->is_open);
}

static void charge_to(Engine *engine, Thread *thread, Execution *execution) {
    thread->is_foreign = execution->own.owner != thread->serial || !execution->is_open;
    if (thread->is_foreign) thread->foreign = (Charge){.tick = engine->tick, .owner = thread->serial};
    thread_set_charged(thread, execution);
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
        thread_set_charged(thread, NULL);
}

void open_execution(Engine *engine, Thread *thread, Execution *execution, Execution *parent) {
    settle(engine, thread);
    if (thread->charged && (thread->charged != parent || thread->is_foreign)) leave(engine, thread);
    thread->is_foreign = 0;
    thread_set_charged(thread, execution);
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
        thread_set_charged(thread, NULL);
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

void settle_from_outside(Engine *engine, Thread *thread) {
    Outside found = charge_from_outside(thread, engine->tick - STALE_TICKS, engine->tick);
    if (found.used) pass_on_sums(engine, thread, found.sums, found.used, found.execution, found.is_own);
    if (found.is_stale) {
        if (found.is_own) record_kept(engine, found.execution, found.now_ns);
        record_time(engine, found.execution, &found.charge, found.now_ns);
    }
    Py_XDECREF(found.execution);
}
