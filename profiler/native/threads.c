/* The list of threads: each one's state is made where it is first seen, and added up and let go of after its end. */
#include "engine.h"
#include <string.h>

_Thread_local Thread *metercast_thread __attribute__((tls_model("initial-exec")));

static Thread *threads;
static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t rings_lock = PTHREAD_MUTEX_INITIALIZER; /* guards `ring` of all threads; taken after threads_lock */
static pthread_key_t thread_key;
static atomic_ullong serials;
static int64_t calls_of_ended, attributed_of_ended_ns, moved_by_ended[2];

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

void thread_set_charged(Thread *thread, Execution *execution) {
    Execution *before = thread->charged;
    if (before == execution) return;
    Py_XINCREF(execution);
    thread_lock(thread);
    thread->charged = execution;
    thread_unlock(thread);
    Py_XDECREF(before);
}

void collect(Engine *engine) {
    this_thread(); /* which records what is found stale, and is to be in the list before that is locked */
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
    thread_set_charged(thread, NULL);
    for (Execution *one = current; one; one = one->parent) {
        one->own = (Charge){.tick = engine->tick, .owner = thread->serial};
        if (one->sums) memset(one->sums, 0, CODES * sizeof(Sum));
        one->has_sums = 0;
    }
    switch_to(engine, current);
}
