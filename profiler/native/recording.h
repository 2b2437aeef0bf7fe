/* Records on their way to the shipper: names, rings, totals, and the file that outlives the process. */
#ifndef METERCAST_RECORDING_H
#define METERCAST_RECORDING_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

/* One micro-operation, of fixed size; names are places in the table of names. metercast/shipping/ring_file.py reads it. */
typedef struct {
    int64_t ended_ns, cpu_ns, memory, network, disk, duration_ns;
    double units;
    int64_t execution, parent;
    uint32_t operation, user, meter, code;
} Record;

/* What all records of one user, operation, type and meter come to. */
typedef struct {
    uint32_t operation, user, meter, code;
    int64_t records, cpu_ns, memory, network, disk, duration_ns;
    double units;
} Total;

/* The beginning of a ring file, a page; then the texts of names, then rings, each a page of positions and its records. */
typedef struct {
    char magic[8], source[32]; /* where the figures come from */
    uint64_t record_size, capacity, names_offset, rings_offset, ring_stride;
    _Atomic uint64_t names_size, names_count, rings;
    int64_t shift_ns, hz; /* from the engine's clock to Unix time; cycles a second */
} FileHead;

typedef struct {
    int descriptor; /* 0: none */
    FileHead *head;
    unsigned char *names;
} RingFile;

/* Texts by number; 0 is the empty one. Forgotten as a whole when they are many and no record names one. */
typedef struct {
    PyObject *numbers; /* dict: text -> place */
    PyObject **texts;
    uint32_t count, room, generation;
} Names;

/* Records are numbered from the first on; those from `head` to `tail` are kept, that of number n at place n - base. */
typedef struct {
    _Atomic uint64_t head; /* written by the reader alone, and all else by the writer */
    _Atomic uint64_t tail;
    uint64_t base;     /* number of the record at place 0; a ring that is empty begins anew, and so stays in the cache */
    uint64_t intended; /* reader: what head becomes when the batch that is being written has its name */
} Positions;

struct Recording;

#define RETIRED UINT64_MAX /* a writer that no thread is: what the ring holds is read, and nothing is added */

/* The records of one thread, its writer; the reader is whoever holds the recording's `reading`. */
typedef struct Ring {
    struct Ring *next;
    struct Recording *recording;
    _Atomic uint64_t writer; /* serial of a thread; 0: of one that has ended, so another may have it */
    Positions *positions, own;
    Record *records;
    uint64_t capacity;
    uint64_t taken; /* number of the next record to read; in a file it is beyond `head` until a batch holds the records */
    uint64_t copied;
    size_t mapped; /* bytes of the file's mapping; 0: own memory */
} Ring;

typedef struct Recording {
    Names names;
    RingFile file;
    Ring *_Atomic rings;
    Py_ssize_t capacity; /* of a ring */
    Total *totals; /* hash table with open addressing; records == 0: the place is free */
    Py_ssize_t places, used;
    long long dropped, recorded;
    Py_buffer counted_in; /* where records are counted beyond this process's end; buf is NULL: nowhere */
    pthread_mutex_t reading; /* taken without the GIL held */
    char is_on, sums_up;
} Recording;

struct Execution;
struct Thread;

/* recording.c: needs the GIL */
int recording_init(Recording *recording, Py_ssize_t capacity);
void recording_after_fork(Recording *recording); /* forget everything that waits, and the parent's file */
void recording_free(Recording *recording);
/* Keep a record of the execution's; the names and numbers are filled in here. */
void recording_append(Recording *recording, struct Execution *execution, PyObject *meter, Record record);
Py_ssize_t recording_waiting(const Recording *recording);
void recording_retire(Recording *recording); /* threads take new rings from now on; what is in the old ones is read */
void recording_drop_rings(Recording *recording); /* with what waits in them */

/* names.c: needs the GIL */
uint32_t place_of_name(Recording *recording, PyObject *text);
void name_execution(Recording *recording, struct Execution *execution);
void forget_names(Recording *recording);
void forget_many_names(Recording *recording); /* if no record names one */

/* totals.c: needs the GIL */
void add_to_total(Recording *recording, const Record *record);
void drop_totals(Recording *recording);
PyObject *recording_take_totals(Recording *recording);

/* drain.c */
PyObject *recording_take(Recording *recording, Py_ssize_t limit, int64_t shift_ns);
/* (records taken, rows as metercast/shipping/batch.py has them); `folds`: those of one run, type and meter add up to one. */
PyObject *recording_take_rows(Recording *recording, Py_ssize_t limit, int64_t shift_ns, int64_t hz, PyObject *source,
                              int folds);
int recording_types_ready(void);

/* ring_file.c; -1: an error is set */
int ring_file_open(Recording *recording, PyObject *path, int64_t shift_ns, int64_t hz, const char *source);
void ring_file_close(Recording *recording);
/* A ring's positions and records in the file; 0: it has no room. */
int ring_file_add(Recording *recording, Ring *ring);
void ring_file_name(RingFile *file, const Names *names, PyObject *text);
void ring_file_intend(Recording *recording);  /* all that was taken so far is in a batch that gets its name next */
void ring_file_release(Recording *recording); /* it has it */

#endif
