/* Counts the bytes that operations allocate: the interpreter's allocators and NumPy's are replaced by ones that count and
 * call on. An allocator that calls another one below counts once, as the outermost sets what the thread had before.
 */
#include "engine.h"
#include <string.h>

static PyMemAllocatorEx below[3]; /* of the domains: raw, mem, obj */
static int is_counting;

static inline void allocated(Thread *thread, int64_t before, size_t size) {
    if (thread) __atomic_store_n(&thread->allocated, before + (int64_t)size, __ATOMIC_RELAXED);
}

static inline int64_t so_far(Thread *thread) { return thread ? thread->allocated : 0; }

static void *counted_malloc(void *domain, size_t size) {
    PyMemAllocatorEx *next = domain;
    Thread *thread = metercast_thread;
    int64_t before = so_far(thread);
    void *block = next->malloc(next->ctx, size);
    if (block) allocated(thread, before, size);
    return block;
}

static void *counted_calloc(void *domain, size_t count, size_t each) {
    PyMemAllocatorEx *next = domain;
    Thread *thread = metercast_thread;
    int64_t before = so_far(thread);
    void *block = next->calloc(next->ctx, count, each);
    if (block) allocated(thread, before, count * each);
    return block;
}

/* A block that is given another size counts with all of it: it may have moved, and its earlier size is not known. */
static void *counted_realloc(void *domain, void *block, size_t size) {
    PyMemAllocatorEx *next = domain;
    Thread *thread = metercast_thread;
    int64_t before = so_far(thread);
    void *moved = next->realloc(next->ctx, block, size);
    if (moved) allocated(thread, before, size);
    return moved;
}

static void freed(void *domain, void *block) {
    PyMemAllocatorEx *next = domain;
    next->free(next->ctx, block);
}

void metercast_count_allocations(void) {
    static const PyMemAllocatorDomain domains[3] = {PYMEM_DOMAIN_RAW, PYMEM_DOMAIN_MEM, PYMEM_DOMAIN_OBJ};
    for (int i = 0; i < 3 && !is_counting; i++) {
        PyMem_GetAllocator(domains[i], &below[i]);
        PyMemAllocatorEx counting = {&below[i], counted_malloc, counted_calloc, counted_realloc, freed};
        PyMem_SetAllocator(domains[i], &counting);
    }
    is_counting = 1;
}

/* NumPy ---------------------------------------------------------------------------------------------------------------- */

/* What NumPy's documentation of PyDataMem_Handler gives (NEP 49), version 1. */
typedef struct {
    void *ctx;
    void *(*malloc)(void *ctx, size_t size);
    void *(*calloc)(void *ctx, size_t count, size_t each);
    void *(*realloc)(void *ctx, void *block, size_t size);
    void (*free)(void *ctx, void *block, size_t size);
} NumpyAllocator;

typedef struct {
    char name[127];
    uint8_t version;
    NumpyAllocator allocator;
} NumpyHandler;

#define DEFAULT_HANDLER 306 /* place of PyDataMem_DefaultHandler in the table of NumPy's C interface, since 1.22 */

static NumpyAllocator numpy_below;

static void *numpy_malloc(void *ctx, size_t size) {
    Thread *thread = metercast_thread;
    int64_t before = so_far(thread);
    void *block = numpy_below.malloc(ctx, size);
    if (block) allocated(thread, before, size);
    return block;
}

static void *numpy_calloc(void *ctx, size_t count, size_t each) {
    Thread *thread = metercast_thread;
    int64_t before = so_far(thread);
    void *block = numpy_below.calloc(ctx, count, each);
    if (block) allocated(thread, before, count * each);
    return block;
}

static void *numpy_realloc(void *ctx, void *block, size_t size) {
    Thread *thread = metercast_thread;
    int64_t before = so_far(thread);
    void *moved = numpy_below.realloc(ctx, block, size);
    if (moved) allocated(thread, before, size);
    return moved;
}

/* The handler of a thread is one of its context, and a new thread has the default one. So that one is made to count. */
int metercast_count_numpy(PyObject *table) {
    void **interface = PyCapsule_GetPointer(table, NULL);
    if (interface == NULL) return -1;
    PyObject *capsule = *(PyObject **)interface[DEFAULT_HANDLER];
    if (capsule == NULL || !PyCapsule_IsValid(capsule, "mem_handler")) {
        PyErr_SetString(PyExc_ValueError, "this NumPy has no default handler of data memory where 1.22 and later have it");
        return -1;
    }
    NumpyHandler *handler = PyCapsule_GetPointer(capsule, "mem_handler");
    if (strncmp(handler->name, "default_allocator", sizeof handler->name) != 0 || handler->version != 1) {
        PyErr_Format(PyExc_ValueError, "NumPy's handler %.100s of version %d is not known; known is default_allocator, 1",
                     handler->name, handler->version);
        return -1;
    }
    if (numpy_below.malloc != NULL) return 0;
    numpy_below = handler->allocator;
    handler->allocator.malloc = numpy_malloc;
    handler->allocator.calloc = numpy_calloc;
    handler->allocator.realloc = numpy_realloc;
    return 0;
}
