/* A ring a thread: its writer alone adds to it, and the shipper reads it without the GIL.
 *
 * A thread that has ended leaves its ring to the next one, so there are as many as threads ever recorded at one time.
 */
#include "engine.h"
#include <string.h>
#include <sys/mman.h>

#define MANY_RINGS 32
#define FEW_RECORDS 4096

int recording_init(Recording *recording, Py_ssize_t capacity) {
    recording->capacity = capacity;
    recording->names.numbers = PyDict_New();
    recording->names.generation = 1;
    pthread_mutex_init(&recording->reading, NULL);
    return recording->names.numbers != NULL && place_of_name(recording, metercast_empty_text) == 0;
}

static void free_rings(Recording *recording) {
    threads_forget_rings(recording);
    for (Ring *ring = recording->rings, *next; ring; ring = next) {
        next = ring->next;
        if (ring->mapped) munmap(ring->positions, ring->mapped);
        else free(ring->records);
        free(ring);
    }
    recording->rings = NULL;
}

void recording_after_fork(Recording *recording) {
    pthread_mutex_init(&recording->reading, NULL); /* the parent's shipper may have had it */
    ring_file_close(recording);
    free_rings(recording);
    recording->dropped = 0;
    drop_totals(recording);
}

void recording_free(Recording *recording) {
    PyBuffer_Release(&recording->counted_in);
    ring_file_close(recording);
    free_rings(recording);
    forget_names(recording);
    Py_CLEAR(recording->names.numbers);
    free(recording->names.texts);
    free(recording->totals);
}

void recording_drop_rings(Recording *recording) {
    Py_BEGIN_ALLOW_THREADS /* who reads may be waiting for the GIL */
    pthread_mutex_lock(&recording->reading);
    Py_END_ALLOW_THREADS
    free_rings(recording);
    pthread_mutex_unlock(&recording->reading);
}

void recording_retire(Recording *recording) {
    threads_forget_rings(recording);
    for (Ring *ring = recording->rings; ring; ring = ring->next) atomic_store(&ring->writer, RETIRED);
}

Py_ssize_t recording_waiting(const Recording *recording) {
    uint64_t count = 0;
    for (Ring *ring = recording->rings; ring; ring = ring->next)
        count += atomic_load_explicit(&ring->positions->tail, memory_order_relaxed) - ring->taken;
    return (Py_ssize_t)count;
}

/* Beyond some threads a ring is smaller, so that thousands of them ask for no memory that the system would refuse. */
static uint64_t capacity_of_next(const Recording *recording) {
    uint64_t capacity = (uint64_t)recording->capacity;
    int rings = 0;
    for (const Ring *ring = recording->rings; ring; ring = ring->next) rings++;
    return rings >= MANY_RINGS && capacity > FEW_RECORDS ? FEW_RECORDS : capacity;
}

static Ring *new_ring(Recording *recording) {
    Ring *ring = calloc(1, sizeof(Ring));
    if (ring == NULL) return NULL;
    ring->recording = recording;
    ring->positions = &ring->own;
    if (recording->capacity > 0 && !(recording->file.head && ring_file_add(recording, ring))) {
        uint64_t capacity = capacity_of_next(recording);
        ring->records = malloc(sizeof(Record) * capacity); /* a page takes memory when it is written to */
        ring->capacity = ring->records ? capacity : 0;
    }
    ring->next = recording->rings;
    recording->rings = ring; /* the reader may be walking along them */
    return ring;
}

static Ring *ring_for(Recording *recording, Thread *thread) {
    Ring *ring = recording->rings;
    while (ring && ring->writer != thread->serial) ring = ring->next;
    for (Ring *left = recording->rings; ring == NULL && left; left = left->next) {
        uint64_t nobody = 0;
        if (atomic_compare_exchange_strong(&left->writer, &nobody, thread->serial)) ring = left;
    }
    if (ring == NULL) ring = new_ring(recording);
    if (ring) atomic_store(&ring->writer, thread->serial);
    threads_have_ring(thread, ring);
    return ring;
}

static inline Ring *ring_of(Recording *recording, Thread *thread) {
    Ring *ring = thread->ring;
    return ring && ring->recording == recording ? ring : ring_for(recording, thread);
}

/* 0: there is no room. */
static inline int put(Ring *ring, const Record *record) {
    Positions *at = ring->positions;
    uint64_t tail = atomic_load_explicit(&at->tail, memory_order_relaxed);
    uint64_t head = atomic_load_explicit(&at->head, memory_order_acquire);
    if (tail - head >= ring->capacity) return 0;
    if (tail == head) at->base = tail; /* the reader asks for it only where there is something to read */
    uint64_t place = tail - at->base;
    ring->records[place < ring->capacity ? place : place % ring->capacity] = *record;
    atomic_store_explicit(&at->tail, tail + 1, memory_order_release);
    return 1;
}

void recording_append(Recording *recording, Execution *execution, PyObject *meter, Record record) {
    if (!recording->is_on) return;
    recording->recorded++;
    if (recording->counted_in.buf) ++*(uint64_t *)recording->counted_in.buf;
    name_execution(recording, execution);
    record.operation = execution->operation_name;
    record.user = execution->user_name;
    record.meter = meter ? place_of_name(recording, meter) : 0;
    record.execution = execution->id;
    record.parent = execution->parent_id;
    if (recording->sums_up) {
        add_to_total(recording, &record);
        return;
    }
    Ring *ring = ring_of(recording, this_thread());
    if (ring && put(ring, &record)) return;
    recording->dropped++;
    add_to_total(recording, &record);
}
