/* What the engine and the interception of libc share: per-thread state, and charging a call without the GIL. */
#ifndef METERCAST_ENGINE_H
#define METERCAST_ENGINE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

/* Codes of micro-operation types: their places in metercast.event.MICRO_OPERATION_TYPES. */
enum {
    CPU_INSTRUCTION, MEMORY_READ, MEMORY_WRITE, MEMORY_ALLOC, NETWORK_SEND, NETWORK_RECEIVE,
    DISK_READ, DISK_WRITE, WAIT, GPU_COMPUTE, CUSTOM, UNATTRIBUTED, PROFILER_SELF, CODES
};

/* CPU and waiting time that one thread has spent for one execution and not recorded yet. */
typedef struct {
    int64_t cpu_ns, wait_ns, suspended_ns, tick;
    uint64_t owner; /* serial of the thread, 0: none */
} Charge;

typedef struct Execution {
    PyObject_HEAD
    long long id, parent_id;
    PyObject *operation, *user;
    struct Execution *parent;
    char is_open, is_root;
    Charge own;
    int64_t late_bytes;       /* received outside of it on a connection it answered; guarded by the senders' lock */
    int descriptors[4], used; /* connections it has sent on */
} Execution;

/* What the calls of one type have used since the thread's last boundary. */
typedef struct {
    int64_t calls, cpu_ns, memory, network, disk;
} Sum;

/* `lock` guards `charged` and `sums`, which the shipper collects while the thread may be inside libc. */
typedef struct Thread {
    struct Thread *next;
    atomic_flag lock;
    atomic_int is_over;
    uint64_t serial;
    Execution *charged; /* owned */
    int is_foreign;     /* charges `foreign`, not the execution's own charge */
    Charge foreign;
    int64_t cpu_mark, elapsed_mark;
    int64_t claimed_ns;     /* CPU since cpu_mark that short spans have claimed by their elapsed time */
    int64_t claimed_new_ns; /* that part of it which calls have claimed since elapsed_mark */
    uint32_t used;      /* bit i: sums[i] is not empty */
    Sum sums[CODES];
    int64_t calls;
    int is_busy, is_muted;
} Thread;

extern _Thread_local Thread *metercast_thread;
extern atomic_int metercast_is_on;

static inline int64_t read_clock(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline int64_t elapsed_clock(void) { return read_clock(CLOCK_MONOTONIC); }
static inline int64_t cpu_clock(void) { return read_clock(CLOCK_THREAD_CPUTIME_ID); }

static inline void thread_lock(Thread *thread) {
    while (atomic_flag_test_and_set_explicit(&thread->lock, memory_order_acquire)) sched_yield();
}

static inline void thread_unlock(Thread *thread) {
    atomic_flag_clear_explicit(&thread->lock, memory_order_release);
}

/* Charge a call that began at `started_ns` and ends now; needs no GIL; the caller is the thread itself. */
void metercast_charge_call(Thread *thread, int code, int64_t started_ns, int64_t memory, int64_t network, int64_t disk);

/* got.c */
int metercast_intercept(void);
void metercast_forget_forked(void);
/* The execution ends: no connection points to it any more. Returns the bytes received for it outside of it. */
int64_t metercast_end_execution(Execution *execution);

#endif
