/* What each descriptor is, and who is charged for the bytes that cross it.
 *
 * The functions run without the GIL and touch no Python object but the thread's charged execution, which the thread owns.
 */
#define _GNU_SOURCE
#include "libc_calls.h"

#ifdef METERCAST_INTERCEPTS
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct {
    _Atomic unsigned char kind;
    _Atomic unsigned char is_accepted;
    _Atomic int64_t held; /* received before it was known for whom */
    Execution *sender;    /* the open execution that last sent; guarded by senders_lock */
} Descriptor;

static Descriptor descriptors[DESCRIPTORS];
static pthread_mutex_t senders_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t process;

static inline unsigned char known_kind(int descriptor) {
    return is_descriptor(descriptor) ? atomic_load_explicit(&descriptors[descriptor].kind, memory_order_relaxed) : UNKNOWN;
}

static unsigned char learn_kind(int descriptor, mode_t mode) {
    unsigned char kind = S_ISREG(mode) || S_ISBLK(mode) || S_ISDIR(mode) ? DISK : S_ISSOCK(mode) ? NETWORK : MEMORY;
    if (is_descriptor(descriptor)) atomic_store_explicit(&descriptors[descriptor].kind, kind, memory_order_relaxed);
    return kind;
}

static unsigned char kind_of(int descriptor) {
    struct stat status;
    unsigned char kind = known_kind(descriptor);
    if (kind != UNKNOWN) return kind;
    int error = errno;
    kind = fstat(descriptor, &status) == 0 ? learn_kind(descriptor, status.st_mode) : MEMORY;
    errno = error;
    return kind;
}

/* The thread to charge, NULL when it meters nothing or a signal handler has interrupted the counting itself. */
static inline Thread *metered_thread(void) {
    Thread *thread = metercast_thread;
    if (thread == NULL || thread->is_busy || thread->is_muted) return NULL;
    return atomic_load_explicit(&metercast_is_on, memory_order_relaxed) ? thread : NULL;
}

static inline int works_for_an_operation(Thread *thread) {
    return thread->charged != NULL && !thread->charged->is_root && thread->charged->is_open;
}

static void note_sender(Thread *thread, int descriptor) {
    Descriptor *entry = &descriptors[descriptor];
    Execution *execution = thread->charged;
    pthread_mutex_lock(&senders_lock);
    if (execution->is_open && entry->sender != execution && execution->used < 4) {
        execution->descriptors[execution->used++] = descriptor;
        entry->sender = execution;
    }
    pthread_mutex_unlock(&senders_lock);
}

static int64_t late_for_sender(int descriptor, int64_t size) {
    if (descriptors[descriptor].sender == NULL) return 0;
    pthread_mutex_lock(&senders_lock);
    Execution *sender = descriptors[descriptor].sender;
    if (sender) sender->late_bytes += size;
    pthread_mutex_unlock(&senders_lock);
    return sender ? size : 0;
}

int64_t metercast_end_execution(Execution *execution) {
    int64_t late_bytes = 0;
    if (execution->used) {
        pthread_mutex_lock(&senders_lock);
        for (int i = 0; i < execution->used; i++) {
            Descriptor *entry = &descriptors[execution->descriptors[i]];
            if (entry->sender == execution) entry->sender = NULL;
        }
        late_bytes = execution->late_bytes;
        execution->late_bytes = execution->used = 0;
        execution->is_open = 0;
        pthread_mutex_unlock(&senders_lock);
    }
    execution->is_open = 0;
    return late_bytes;
}

static void count_send(Thread *thread, int descriptor, int64_t started_ns, int64_t size) {
    if (works_for_an_operation(thread) && known_kind(descriptor) == NETWORK) {
        if (descriptors[descriptor].sender != thread->charged) note_sender(thread, descriptor);
        int64_t held = atomic_exchange(&descriptors[descriptor].held, 0);
        if (held) metercast_charge_call(thread, NETWORK_RECEIVE, UNTIMED, 0, held, 0);
    }
    if (thread->charged == NULL) return;
    metercast_charge_call(thread, NETWORK_SEND, started_ns, 0, size, 0);
    connection_explained(descriptor, 1, size);
}

static void count_receive(Thread *thread, int descriptor, int64_t started_ns, int64_t size) {
    int64_t others = 0;
    if (!works_for_an_operation(thread) && known_kind(descriptor) == NETWORK) {
        others = late_for_sender(descriptor, size);
        if (size > others && atomic_load(&descriptors[descriptor].is_accepted)) {
            atomic_fetch_add(&descriptors[descriptor].held, size - others);
            others = size;
        }
    }
    if (thread->charged) metercast_charge_call(thread, NETWORK_RECEIVE, started_ns, 0, size - others, 0);
    connection_explained(descriptor, 0, thread->charged ? size : others);
}

void count_call(int descriptor, int is_write, Call call, int64_t size) {
    int error = errno;
    Thread *thread = metered_thread();
    if (thread != NULL && size >= 0) {
        thread->is_busy = 1;
        if (call.kind == NETWORK && is_write)
            count_send(thread, descriptor, call.started_ns, size);
        else if (call.kind == NETWORK)
            count_receive(thread, descriptor, call.started_ns, size);
        else if (thread->charged && call.kind == DISK)
            metercast_charge_call(thread, is_write ? DISK_WRITE : DISK_READ, call.started_ns, 0, 0, size);
        else if (thread->charged)
            metercast_charge_call(thread, is_write ? MEMORY_WRITE : MEMORY_READ, call.started_ns, size, 0, 0);
        thread->is_busy = 0;
    }
    errno = error;
}

Call start_call(int descriptor) {
    Thread *thread = metered_thread();
    if (thread == NULL) return (Call){0, UNKNOWN};
    if (thread->charged == NULL) return (Call){known_kind(descriptor) == NETWORK ? UNTIMED : 0, NETWORK};
    int is_timed = atomic_load_explicit(&metercast_times_calls, memory_order_relaxed);
    return (Call){is_timed ? elapsed_clock() : UNTIMED, kind_of(descriptor)};
}

int64_t metercast_call_starts(int descriptor) { return start_call(descriptor).started_ns; }

void count_moved(int descriptor, int is_write, Call call, int64_t size) {
    count_call(descriptor, is_write, call, size);
    Thread *thread = metered_thread();
    if (thread == NULL || size <= 0) return;
    if (thread->charged || call.kind == NETWORK) thread->moved[is_write] += size;
}

void metercast_count(int descriptor, int is_write, int64_t started_ns, int64_t size) {
    count_moved(descriptor, is_write, (Call){started_ns, kind_of(descriptor)}, size);
}

/* What a descriptor was is forgotten when it is closed or replaced. A child between vfork and exec, which has this memory
 * too, closes only its own: forgetting what a file was does no harm then, as it is asked for again, but a connection's
 * state is lost. */
void metercast_forget(int descriptor) {
    if (!is_descriptor(descriptor)) return;
    Descriptor *entry = &descriptors[descriptor];
    int is_connection = atomic_load_explicit(&entry->kind, memory_order_relaxed) == NETWORK;
    if (is_connection && getpid() != process) return;
    atomic_store_explicit(&entry->kind, UNKNOWN, memory_order_relaxed);
    if (!is_connection) return;
    atomic_store(&entry->is_accepted, 0);
    int64_t held = atomic_exchange(&entry->held, 0);
    Thread *thread = metered_thread();
    if (held && thread && thread->charged) {
        thread->is_busy = 1;
        metercast_charge_call(thread, NETWORK_RECEIVE, UNTIMED, 0, held, 0);
        thread->is_busy = 0;
    } else if (held) {
        connection_explained(descriptor, 0, -held);
    }
    connection_ends(descriptor);
    if (entry->sender) {
        pthread_mutex_lock(&senders_lock);
        entry->sender = NULL;
        pthread_mutex_unlock(&senders_lock);
    }
}

void metercast_is_socket(int descriptor, int is_accepted) {
    if (!is_descriptor(descriptor)) return;
    atomic_store(&descriptors[descriptor].held, 0);
    atomic_store(&descriptors[descriptor].kind, NETWORK);
    atomic_store(&descriptors[descriptor].is_accepted, (unsigned char)is_accepted);
    connection_begins(descriptor);
}

void metercast_give_up_held(int descriptor) {
    connection_explained(descriptor, 0, -atomic_exchange(&descriptors[descriptor].held, 0));
}

int metercast_is_descriptor_known(int descriptor) { return known_kind(descriptor) != UNKNOWN; }

void metercast_learn(int descriptor, mode_t mode) {
    if (known_kind(descriptor) == UNKNOWN) learn_kind(descriptor, mode);
}

void metercast_watch_forks(void) {
    if (process == 0) pthread_atfork(NULL, connections_are_shared, connections_are_parents);
    process = getpid();
}

void metercast_forget_forked(void) {
    pthread_mutex_init(&senders_lock, NULL);
    process = getpid();
    for (int i = 0; process && i < DESCRIPTORS; i++) {
        if (atomic_load_explicit(&descriptors[i].kind, memory_order_relaxed) == UNKNOWN) continue;
        atomic_store(&descriptors[i].held, 0); /* the parent's to claim */
    }
}

#else

void metercast_forget_forked(void) {}
int64_t metercast_end_execution(Execution *execution) {
    execution->is_open = 0;
    return 0;
}

#endif
