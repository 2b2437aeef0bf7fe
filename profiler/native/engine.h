/* What the parts of the compiled engine share: records, executions, threads, and who calls whom. */
#ifndef METERCAST_ENGINE_H
#define METERCAST_ENGINE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include "clock.h"
#include "counters.h"
#include "recording.h"

/* Codes of micro-operation types: their places in metercast.event.MICRO_OPERATION_TYPES. */
enum {
    CPU_INSTRUCTION, MEMORY_READ, MEMORY_WRITE, MEMORY_ALLOC, NETWORK_SEND, NETWORK_RECEIVE,
    DISK_READ, DISK_WRITE, WAIT, GPU_COMPUTE, CUSTOM, UNATTRIBUTED, PROFILER_SELF, CODES
};

/* Executions ------------------------------------------------------------------------------------------------------- */

/* What the calls of one type have used; `counted_ns` is their CPU by the processor's counter where that is read, as time at
 * the nominal frequency. */
typedef struct {
    int64_t calls, cpu_ns, memory, network, disk, counted_ns;
} Sum;

/* CPU and waiting time that one thread has spent for one execution and not recorded yet. */
typedef struct {
    int64_t cpu_ns, wait_ns, suspended_ns, tick;
    uint64_t owner; /* serial of the thread, 0: none */
    int64_t counted_ns;
} Charge;

typedef struct Execution {
    PyObject_HEAD
    long long id, parent_id;
    PyObject *operation, *user;
    struct Execution *parent;
    PyObject *outer; /* what the context variable held before `enter`; NULL: not entered */
    uint32_t operation_name, user_name, generation; /* places in the table of names, valid for that generation */
    char is_open, is_root;
    Charge own;
    Sum *sums;         /* calls of its own thread, kept until it ends; NULL or CODES of them */
    uint32_t has_sums; /* bit i: sums[i] is not empty */
    int64_t late_bytes;       /* received outside of it on a connection it answered; guarded by the senders' lock */
    int descriptors[4], used; /* connections it has sent on */
} Execution;

extern PyTypeObject ExecutionType;
Execution *execution_new(void); /* all fields empty */
void execution_name(Execution *execution, PyObject *operation);
int execution_or_none(PyObject *value, Execution **execution);

/* Threads ---------------------------------------------------------------------------------------------------------- */

/* `lock` guards charges, marks and `sums`, which the shipper settles while the thread may be inside libc. */
typedef struct Thread {
    struct Thread *next;
    atomic_flag lock;
    atomic_int is_over;
    uint64_t serial;
    pthread_t identity;
    Execution *charged; /* owned */
    int is_foreign;     /* charges `foreign`, not the execution's own charge */
    Charge foreign;
    int64_t cpu_mark, elapsed_mark;
    int64_t claimed_ns;     /* CPU since cpu_mark that spans without a reading have claimed by their elapsed time */
    int64_t claimed_new_ns; /* that part of it which calls have claimed since elapsed_mark */
    uint32_t used;          /* bit i: sums[i] is not empty */
    Sum sums[CODES];
    int64_t calls;
    int64_t attributed_ns; /* CPU ever charged to an execution */
    int64_t moved[2];      /* bytes read, written for operations by calls that the kernel counts in /proc/PID/io */
    int is_busy, is_muted;
    Counted counter;
    int64_t last_count;  /* of a thread that has ended */
    int64_t uncounted_ns; /* CPU charged since the counter's mark, less that of calls */
    int64_t allocated;      /* bytes ever, where they are counted; written by the thread alone and without the lock */
    int64_t allocated_mark; /* those of them that are charged */
    Ring *ring;             /* that it has added to last; changed under a lock of all rings */
} Thread;

extern _Thread_local Thread *metercast_thread __attribute__((tls_model("initial-exec")));
extern atomic_int metercast_is_on;
extern atomic_int metercast_times_calls; /* 0: calls are counted, and their time stays the operation's */
extern int64_t metercast_short_ns;       /* spans below it are charged their elapsed time; -1: every boundary reads */

Thread *thread_first_seen(void);

static inline Thread *this_thread(void) {
    Thread *thread = metercast_thread;
    return thread != NULL ? thread : thread_first_seen();
}

static inline void thread_lock(Thread *thread) {
    while (atomic_flag_test_and_set_explicit(&thread->lock, memory_order_acquire)) sched_yield();
}

static inline void thread_unlock(Thread *thread) {
    atomic_flag_clear_explicit(&thread->lock, memory_order_release);
}

static inline Charge *charge_of(Thread *thread) {
    return thread->is_foreign ? &thread->foreign : &thread->charged->own;
}

/* Engine ----------------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *current, *user, *default_user, *user_headers;
    Recording recording;
    PyObject *source;
    long long tick, number;
} Engine;

extern PyTypeObject EngineType, BlockType, StepType, HookType, RequestType;

/* charging.c: all but the last needs no GIL */

#define UNTIMED 1 /* a beginning that says: count the call, and leave its time to the operation */

/* Charge a call that began at `started_ns` or was not timed, and ends now; the caller is the thread itself. */
void metercast_charge_call(Thread *thread, int code, int64_t started_ns, int64_t memory, int64_t network, int64_t disk);
/* Charge all that this thread did since its last boundary; `sums` becomes what its calls used, of the types returned. */
uint32_t charge_span(Thread *thread, Sum *sums);

/* The same, by another thread, and with what was charged and not recorded for long. */
typedef struct {
    Execution *execution; /* owned */
    int64_t now_ns;
    int is_own, is_stale; /* `charge` is what the execution was charged, and is to be recorded */
    Charge charge;
    uint32_t used;
    Sum sums[CODES];
} Outside;

Outside charge_from_outside(Thread *thread, int64_t stale_before_tick, int64_t tick);

/* boundaries.c: needs the GIL */
void settle(Engine *engine, Thread *thread);
void settle_from_outside(Engine *engine, Thread *thread);
void switch_to(Engine *engine, Execution *execution);
void open_execution(Engine *engine, Thread *thread, Execution *execution, Execution *parent);
void close_execution(Engine *engine, Thread *thread, Execution *execution);
void resume_execution(Engine *engine, Thread *thread, Execution *execution);
void checkpoint(Engine *engine, Thread *thread, Execution *current);
void record_stale(Engine *engine, Thread *thread);

/* threads.c: the first three need the GIL */
void collect(Engine *engine); /* settle every thread, as before a flush */
void threads_after_fork(Engine *engine, Execution *current);
void thread_set_charged(Thread *thread, Execution *execution);
int threads_init(void);
int64_t threads_calls(void);
int64_t threads_attributed_ns(void);
void threads_moved(int64_t moved[2]);
void threads_have_ring(Thread *thread, Ring *ring);
void threads_forget_rings(const Recording *recording);

/* engine.c */
Execution *current_execution(Engine *engine); /* borrowed from the context, or NULL */
Execution *engine_enter(Engine *engine, PyObject *operation, PyObject *user); /* open and make current */
void engine_leave(Engine *engine, Execution *execution);                      /* close and make the outer one current */
extern PyObject *metercast_empty_text, *metercast_executions_text;

/* allocations.c */
void metercast_count_allocations(void);
int metercast_count_numpy(PyObject *table); /* -1: an error is set */

/* got.c */
int metercast_intercept(void);

/* connections.c */

/* TCP bytes [received, sent] that the kernel counted and no operation was charged for, so far; `is_ending`: of open
 * connections too what may still be charged. */
void metercast_unexplained(int is_ending, int64_t bytes[2]);
void metercast_explain_all(void); /* forget what is unexplained, as it was moved while metering was off */

/* descriptors.c */
void metercast_forget_forked(void);
/* The execution ends: no connection points to it any more. Returns the bytes received for it outside of it. */
int64_t metercast_end_execution(Execution *execution);

#endif
