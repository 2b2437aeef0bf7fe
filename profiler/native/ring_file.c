/* Rings in a file that outlives the process: what a SIGKILL leaves there, the next start finds and delivers.
 *
 * All of it is given its place on disk before it is written to, so a full disk never kills the program (SIGBUS).
 */
#define _GNU_SOURCE
#include "engine.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#define NAMES_ROOM (4 << 20)
#define FILE_LIMIT (256 << 20) /* rings of more threads are in memory: their records are counted and not kept */

static Recording *kept; /* the one of this process that is in a file */

/* Before any Python code runs in it: a forked child leaves the file to its parent. */
static void in_forked_child(void) {
    if (kept == NULL) return;
    if (metercast_thread) metercast_thread->ring = NULL;
    for (Ring *ring = kept->rings; ring; ring = ring->next) atomic_store(&ring->writer, RETIRED);
    kept->file.head = NULL;
    kept->counted_in.buf = NULL;
    kept = NULL;
}

static void *map(int descriptor, size_t size, uint64_t offset) {
#ifdef __linux__
    int error = posix_fallocate(descriptor, (off_t)offset, (off_t)size);
#else
    int error = ENOSYS; /* nothing promises room: records are counted, and not kept */
#endif
    void *place = error ? MAP_FAILED : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, (off_t)offset);
    if (error) errno = error;
    return place;
}

int ring_file_open(Recording *recording, PyObject *path, int64_t shift_ns, int64_t hz, const char *source) {
    const char *name = PyBytes_AS_STRING(path);
    int descriptor = open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    void *place = descriptor < 0 ? MAP_FAILED : map(descriptor, PAGE + NAMES_ROOM, 0);
    if (place == MAP_FAILED) {
        PyErr_SetFromErrnoWithFilename(PyExc_OSError, name);
        if (descriptor >= 0) close(descriptor), unlink(name);
        return -1;
    }
    FileHead *head = place;
    *head = (FileHead){.record_size = sizeof(Record), .capacity = (uint64_t)recording->capacity, .names_offset = PAGE,
                       .rings_offset = PAGE + NAMES_ROOM, .shift_ns = shift_ns, .hz = hz};
    head->ring_stride = (PAGE + sizeof(Record) * head->capacity + PAGE - 1) / PAGE * PAGE;
    memcpy(head->magic, "MCRINGS1", 8);
    strncpy(head->source, source, sizeof head->source - 1);
    recording->file = (RingFile){descriptor, head, (unsigned char *)place + PAGE};
    for (uint32_t i = 0; i < recording->names.count; i++) {
        Names before = recording->names;
        before.count = i;
        ring_file_name(&recording->file, &before, before.texts[i]);
    }
    static int is_prepared;
    if (!is_prepared) is_prepared = pthread_atfork(NULL, NULL, in_forked_child) == 0;
    kept = recording;
    recording_retire(recording);
    return 0;
}

void ring_file_close(Recording *recording) {
    RingFile *file = &recording->file;
    if (kept == recording) kept = NULL;
    if (file->names) munmap(file->names - PAGE, PAGE + NAMES_ROOM);
    if (file->descriptor) close(file->descriptor);
    *file = (RingFile){0, NULL, NULL};
}

int ring_file_add(Recording *recording, Ring *ring) {
    FileHead *head = recording->file.head;
    size_t size = head->ring_stride;
    uint64_t offset = head->rings_offset + head->rings * size;
    void *place = offset + size > FILE_LIMIT ? MAP_FAILED : map(recording->file.descriptor, size, offset);
    if (place == MAP_FAILED) return 0;
    ring->positions = place;
    ring->records = (Record *)((char *)place + PAGE);
    ring->capacity = head->capacity;
    ring->mapped = size;
    head->rings++;
    return 1;
}

/* Names are in the file in the order of their numbers; after the first that it has no room for there are no more. */
void ring_file_name(RingFile *file, const Names *names, PyObject *text) {
    Py_ssize_t length = 0;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &length);
    if (bytes == NULL) {
        PyErr_Clear(); /* half of a surrogate pair */
        bytes = "?", length = 1;
    }
    FileHead *head = file->head;
    uint32_t size = (uint32_t)length;
    if (head->names_count != names->count || head->names_size + 4 + size > NAMES_ROOM) return;
    memcpy(file->names + head->names_size, &size, 4);
    memcpy(file->names + head->names_size + 4, bytes, size);
    head->names_size += 4 + size;
    head->names_count++;
}

void ring_file_intend(Recording *recording) {
    for (Ring *ring = recording->rings; ring; ring = ring->next) ring->positions->intended = ring->taken;
}

void ring_file_release(Recording *recording) {
    for (Ring *ring = recording->rings; ring; ring = ring->next)
        if (ring->mapped) atomic_store_explicit(&ring->positions->head, ring->positions->intended, memory_order_release);
}
