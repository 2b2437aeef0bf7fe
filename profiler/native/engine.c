/* The compiled engine: the same contract as metercast/engine.py, see there for how CPU time is charged.
 *
 * Calls do not become records one by one: each thread adds up what the calls of one type used, and a boundary makes one
 * record of each sum. A span shorter than SHORT_NS, of a call or between two boundaries, is charged its elapsed time
 * without reading the thread clock, which is a system call; the next reading takes that from what the clock says, so that
 * all that is charged still adds up to the clock, and one execution's share is right to SHORT_NS.
 */
#include "engine.h"
#include "structmember.h"
#include <sys/random.h>
#include <unistd.h>

#define CONTRACT 1 /* of metercast/engine.py */
#define SHORT_NS 10000

typedef struct {
    int64_t ended_ns, cpu_ns, memory, network, disk, duration_ns;
    double units;
    Execution *execution; /* owned */
    PyObject *meter;      /* owned or NULL */
    int code;
} Record;

/* What all records of one user, operation, type and meter come to. */
typedef struct {
    PyObject *user, *operation, *meter; /* owned; NULL: the place is free */
    Py_hash_t hash;
    int code;
    double amounts[7]; /* records, CPU ns, memory, network, disk bytes, duration ns, units */
} Total;

typedef struct {
    PyObject_HEAD
    PyObject *current, *user, *default_user, *user_headers;
    Record *records;
    Py_ssize_t capacity, allocated, first, count;
    Total *totals; /* hash table with open addressing */
    Py_ssize_t places, used;
    long long tick, number, dropped;
    char is_on, sums_up;
} Engine;

static PyTypeObject ExecutionType;
static PyObject *empty_text, *executions_text;

_Thread_local Thread *metercast_thread;
atomic_int metercast_is_on;
static int64_t calls_of_ended_threads;
static Thread *threads;
static pthread_mutex_t threads_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t thread_key;
static atomic_ullong serials;

/* Threads ---------------------------------------------------------------------------------------------------------- */

static void thread_ends(void *thread) {
    metercast_thread = NULL;
    atomic_store(&((Thread *)thread)->is_over, 1);
}

static Thread *this_thread(void) {
    Thread *thread = metercast_thread;
    if (thread != NULL) return thread;
    thread = calloc(1, sizeof(Thread));
    if (thread == NULL) Py_FatalError("metercast: no memory for a thread's state");
    thread->serial = atomic_fetch_add(&serials, 1) + 1;
    thread->cpu_mark = cpu_clock();
    thread->elapsed_mark = elapsed_clock();
    pthread_mutex_lock(&threads_lock);
    thread->next = threads;
    threads = thread;
    pthread_mutex_unlock(&threads_lock);
    pthread_setspecific(thread_key, thread);
    metercast_thread = thread;
    return thread;
}

static inline Charge *charge_of(Thread *thread) {
    return thread->is_foreign ? &thread->foreign : &thread->charged->own;
}

/* Records ---------------------------------------------------------------------------------------------------------- */

static Total *place_of(Total *totals, Py_ssize_t places, Total key) {
    for (Py_ssize_t at = key.hash & (places - 1);; at = (at + 1) & (places - 1)) {
        Total *total = &totals[at];
        if (total->user == NULL) return total;
        if (total->hash == key.hash && total->code == key.code && PyUnicode_Compare(total->user, key.user) == 0 &&
            PyUnicode_Compare(total->operation, key.operation) == 0 && PyUnicode_Compare(total->meter, key.meter) == 0)
            return total;
    }
}

static int make_room(Engine *self) {
    if (self->totals && self->used * 4 < self->places * 3) return 1;
    Py_ssize_t places = self->places ? self->places * 2 : 256;
    Total *totals = calloc((size_t)places, sizeof(Total));
    if (totals == NULL) return self->totals && self->used + 1 < self->places;
    for (Py_ssize_t i = 0; i < self->places; i++)
        if (self->totals[i].user) *place_of(totals, places, self->totals[i]) = self->totals[i];
    free(self->totals);
    self->totals = totals;
    self->places = places;
    return 1;
}

static void add_to_total(Engine *self, const Record *record) {
    if (!make_room(self)) return;
    PyObject *user = record->execution->user, *operation = record->execution->operation;
    PyObject *meter = record->meter ? record->meter : empty_text;
    Py_hash_t hash = PyObject_Hash(user) * 31 + PyObject_Hash(operation) * 17 + PyObject_Hash(meter) + record->code;
    Total key = {user, operation, meter, hash & PY_SSIZE_T_MAX, record->code, {0}};
    Total *total = place_of(self->totals, self->places, key);
    if (total->user == NULL) {
        *total = key;
        Py_INCREF(user);
        Py_INCREF(operation);
        Py_INCREF(meter);
        self->used++;
    }
    double amounts[7] = {1, record->cpu_ns, record->memory, record->network, record->disk, record->duration_ns,
                         record->units};
    for (int i = 0; i < 7; i++) total->amounts[i] += amounts[i];
}

static void drop_totals(Engine *self) {
    for (Py_ssize_t i = 0; i < self->places; i++) {
        Py_CLEAR(self->totals[i].user);
        Py_CLEAR(self->totals[i].operation);
        Py_CLEAR(self->totals[i].meter);
    }
    if (self->totals) memset(self->totals, 0, sizeof(Total) * (size_t)self->places);
    self->used = 0;
}

static void append(Engine *self, Record record) {
    if (!self->is_on) return;
    if (self->sums_up) {
        add_to_total(self, &record);
        return;
    }
    if (self->records == NULL && self->capacity > 0) {
        self->records = malloc(sizeof(Record) * (size_t)self->capacity);
        self->allocated = self->records ? self->capacity : 0;
    }
    if (self->count >= self->allocated) {
        self->dropped++;
        add_to_total(self, &record);
        return;
    }
    Py_INCREF(record.execution);
    Py_XINCREF(record.meter);
    Py_ssize_t place = self->first + self->count++;
    self->records[place >= self->allocated ? place - self->allocated : place] = record;
}

static void record_sums(Engine *self, Execution *execution, Sum *sums, uint32_t used, int64_t now_ns) {
    for (int code = 0; used; code++, used >>= 1) {
        if (!(used & 1)) continue;
        Sum sum = sums[code];
        append(self, (Record){now_ns, sum.cpu_ns, sum.memory, sum.network, sum.disk, sum.cpu_ns, 0, execution, NULL,
                              code});
    }
}

static void record_charge(Engine *self, Thread *thread, Execution *execution, Charge *charge) {
    int64_t cpu_ns = charge->cpu_ns, wait_ns = charge->wait_ns;
    charge->tick = self->tick;
    charge->cpu_ns = charge->wait_ns = 0;
    if (cpu_ns) append(self, (Record){thread->elapsed_mark, cpu_ns, 0, 0, 0, cpu_ns, 0, execution, NULL,
                                      CPU_INSTRUCTION});
    if (wait_ns) append(self, (Record){thread->elapsed_mark, 0, 0, 0, 0, wait_ns, 0, execution, NULL, WAIT});
}

/* Charging --------------------------------------------------------------------------------------------------------- */

/* Short calls may have claimed more than the clock says passed (they were preempted): they give back what they can. */
static int64_t give_back(Thread *thread, int64_t excess_ns) {
    for (int code = 0; code < CODES && excess_ns > 0; code++) {
        int64_t part = thread->sums[code].cpu_ns < excess_ns ? thread->sums[code].cpu_ns : excess_ns;
        thread->sums[code].cpu_ns -= part;
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
        if (wait_ns > 0) charge->wait_ns += wait_ns;
    }
    thread->claimed_ns = debt_ns; /* what follows is charged so much less */
    thread->claimed_new_ns = 0;
    thread->cpu_mark = cpu_now;
    thread->elapsed_mark = now_ns;
}

/* The same for a short span, by the elapsed clock alone. */
static void charge_by_elapsed(Thread *thread, int64_t now_ns) {
    int64_t rest_ns = now_ns - thread->elapsed_mark - thread->claimed_new_ns;
    if (rest_ns > 0) {
        if (thread->charged != NULL) charge_of(thread)->cpu_ns += rest_ns;
        thread->claimed_ns += rest_ns;
    }
    thread->claimed_new_ns = 0;
    thread->elapsed_mark = now_ns;
}

void metercast_charge_call(Thread *thread, int code, int64_t started_ns, int64_t memory, int64_t network,
                           int64_t disk) {
    int64_t now_ns = elapsed_clock(), call_ns = now_ns - started_ns;
    int is_short = call_ns < SHORT_NS;
    int64_t cpu_now = is_short ? 0 : cpu_clock();
    thread_lock(thread);
    if (is_short) {
        thread->claimed_ns += call_ns;
        thread->claimed_new_ns += call_ns;
    } else {
        int64_t before_ns = started_ns - thread->elapsed_mark - thread->claimed_new_ns;
        call_ns = cpu_now - thread->cpu_mark - thread->claimed_ns - (before_ns > 0 ? before_ns : 0);
        if (call_ns < 0) call_ns = 0;
        charge_by_clock(thread, now_ns, cpu_now, call_ns);
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

/* Everything until now is charged and the sums of calls become records. */
static void settle(Engine *self, Thread *thread) {
    Sum sums[CODES];
    uint32_t used;
    int64_t now_ns = elapsed_clock();
    int is_short = now_ns - thread->elapsed_mark < SHORT_NS;
    int64_t cpu_now = is_short ? 0 : cpu_clock();
    thread_lock(thread);
    if (is_short)
        charge_by_elapsed(thread, now_ns);
    else
        charge_by_clock(thread, now_ns, cpu_now, 0);
    used = thread->used;
    if (used) {
        memcpy(sums, thread->sums, sizeof sums);
        memset(thread->sums, 0, sizeof thread->sums);
        thread->used = 0;
    }
    thread_unlock(thread);
    if (used && thread->charged) record_sums(self, thread->charged, sums, used, thread->elapsed_mark);
}

static void set_charged(Thread *thread, Execution *execution) {
    Execution *before = thread->charged;
    Py_XINCREF(execution);
    thread_lock(thread);
    thread->charged = execution;
    thread_unlock(thread);
    Py_XDECREF(before);
}

static void charge_to(Engine *self, Thread *thread, Execution *execution) {
    thread->is_foreign = execution->own.owner != thread->serial || !execution->is_open;
    if (thread->is_foreign) thread->foreign = (Charge){0, 0, 0, self->tick, thread->serial};
    set_charged(thread, execution);
    Charge *charge = charge_of(thread);
    if (charge->suspended_ns) {
        int64_t wait_ns = thread->elapsed_mark - charge->suspended_ns;
        if (wait_ns > 0) charge->wait_ns += wait_ns;
        charge->suspended_ns = 0;
    }
}

/* The thread turns to something else: an open execution of its own waits, anything else is recorded now. */
static void leave(Engine *self, Thread *thread) {
    Execution *execution = thread->charged;
    if (execution->is_open && !thread->is_foreign)
        execution->own.suspended_ns = thread->elapsed_mark;
    else
        record_charge(self, thread, execution, charge_of(thread));
}

static void switch_to(Engine *self, Execution *execution) {
    Thread *thread = this_thread();
    settle(self, thread);
    if (thread->charged) leave(self, thread);
    if (execution)
        charge_to(self, thread, execution);
    else
        set_charged(thread, NULL);
}

/* The current execution, borrowed from the context, or NULL. */
static Execution *current_execution(Engine *self) {
    PyObject *value = NULL;
    if (PyContextVar_Get(self->current, NULL, &value) < 0 || value == NULL) {
        PyErr_Clear();
        return NULL;
    }
    Py_DECREF(value);
    return Py_IS_TYPE(value, &ExecutionType) ? (Execution *)value : NULL;
}

static int execution_or_none(PyObject *value, Execution **execution) {
    *execution = Py_IS_TYPE(value, &ExecutionType) ? (Execution *)value : NULL;
    if (*execution || value == Py_None) return 1;
    PyErr_Format(PyExc_TypeError, "an Execution of this engine or None is wanted, not %R", value);
    return 0;
}

/* Execution -------------------------------------------------------------------------------------------------------- */

static void execution_dealloc(Execution *self) {
    while (self != NULL) { /* a chain of parents ends here in a loop, not in recursion */
        Execution *parent = self->parent;
        if (self->used) metercast_end_execution(self); /* never closed */
        Py_XDECREF(self->operation);
        Py_XDECREF(self->user);
        PyObject_Free(self);
        if (parent == NULL || Py_REFCNT(parent) > 1) {
            Py_XDECREF(parent);
            return;
        }
        self = parent;
    }
}

static PyMemberDef execution_members[] = {
    {"id", T_LONGLONG, offsetof(Execution, id), READONLY, NULL},
    {"parent_id", T_LONGLONG, offsetof(Execution, parent_id), READONLY, NULL},
    {"operation", T_OBJECT_EX, offsetof(Execution, operation), 0, NULL},
    {"user", T_OBJECT_EX, offsetof(Execution, user), 0, NULL},
    {"parent", T_OBJECT, offsetof(Execution, parent), READONLY, NULL},
    {"is_open", T_BOOL, offsetof(Execution, is_open), READONLY, NULL},
    {"is_root", T_BOOL, offsetof(Execution, is_root), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject ExecutionType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "metercast._engine.Execution",
    .tp_doc = "One run of an operation.",
    .tp_basicsize = sizeof(Execution),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_dealloc = (destructor)execution_dealloc,
    .tp_members = execution_members,
};

/* Engine ----------------------------------------------------------------------------------------------------------- */

static void seed_numbers(Engine *self) {
    uint32_t random = 0;
    if (getentropy(&random, sizeof random) != 0) random = (uint32_t)(getpid() ^ elapsed_clock());
    self->number = (long long)(random >> 1) << 32;
}

static int engine_init(Engine *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"capacity", NULL};
    self->capacity = 65536;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|n", names, &self->capacity)) return -1;
    PyObject *empty = PyUnicode_FromString("");
    self->current = PyContextVar_New("metercast", Py_None);
    self->user = PyContextVar_New("metercast_user", empty);
    self->default_user = PyUnicode_FromString("unknown");
    self->user_headers = Py_BuildValue("(ss)", "X-Metercast-User", "X-User");
    Py_XDECREF(empty);
    seed_numbers(self);
    return self->current && self->user && self->default_user && self->user_headers ? 0 : -1;
}

static void drop_records(Engine *self) {
    for (; self->count > 0; self->count--) {
        Record *record = &self->records[self->first];
        self->first = self->first + 1 == self->allocated ? 0 : self->first + 1;
        Py_DECREF(record->execution);
        Py_XDECREF(record->meter);
    }
}

static void engine_dealloc(Engine *self) {
    drop_records(self);
    free(self->records);
    Py_XDECREF(self->current);
    Py_XDECREF(self->user);
    Py_XDECREF(self->default_user);
    Py_XDECREF(self->user_headers);
    drop_totals(self);
    free(self->totals);
    Py_TYPE(self)->tp_free((PyObject *)self);
}

static PyObject *user_in_force(Engine *self, PyObject *user, Execution *parent) {
    if (user != NULL && PyUnicode_GET_LENGTH(user) > 0) return Py_NewRef(user);
    PyObject *value = NULL;
    if (PyContextVar_Get(self->user, NULL, &value) == 0 && value && PyUnicode_Check(value) &&
        PyUnicode_GET_LENGTH(value) > 0)
        return value;
    Py_XDECREF(value);
    return Py_NewRef(parent ? parent->user : self->default_user);
}

static PyObject *engine_open(Engine *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    PyObject *operation = count > 0 ? args[0] : NULL, *user = count > 1 ? args[1] : NULL;
    int is_root = count > 2 ? PyObject_IsTrue(args[2]) : 0;
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); i++) {
        int is_user = PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, i), "user") == 0;
        if (is_user) user = args[count + i];
        else is_root = PyObject_IsTrue(args[count + i]);
    }
    if (count > 3 || operation == NULL || !PyUnicode_Check(operation) || (user && !PyUnicode_Check(user))) {
        PyErr_SetString(PyExc_TypeError, "open(operation: str, user: str = '', is_root: bool = False)");
        return NULL;
    }
    Execution *parent = current_execution(self);
    Thread *thread = this_thread();
    Execution *execution = PyObject_New(Execution, &ExecutionType);
    if (execution == NULL) return NULL;
    execution->id = ++self->number;
    execution->parent_id = parent ? parent->id : 0;
    execution->operation = Py_NewRef(operation);
    execution->user = user_in_force(self, user, parent);
    execution->parent = parent && parent->is_open ? (Execution *)Py_NewRef(parent) : NULL;
    execution->is_open = 1;
    execution->is_root = (char)is_root;
    execution->own = (Charge){0, 0, 0, self->tick, thread->serial};
    execution->late_bytes = execution->used = 0;
    settle(self, thread);
    if (thread->charged && (thread->charged != parent || thread->is_foreign)) leave(self, thread);
    thread->is_foreign = 0;
    set_charged(thread, execution);
    return (PyObject *)execution;
}

static PyObject *engine_close(Engine *self, PyObject *value) {
    Execution *execution;
    if (!execution_or_none(value, &execution) || execution == NULL) return NULL;
    Thread *thread = this_thread();
    settle(self, thread);
    int64_t late_bytes = metercast_end_execution(execution);
    if (late_bytes)
        append(self, (Record){thread->elapsed_mark, 0, 0, late_bytes, 0, 0, 0, execution, NULL, NETWORK_RECEIVE});
    int64_t cpu_ns = execution->own.cpu_ns;
    execution->own.cpu_ns = 0;
    record_charge(self, thread, execution, &execution->own);
    append(self, (Record){thread->elapsed_mark, cpu_ns, 0, 0, 0, cpu_ns, 1.0, execution, executions_text,
                          CPU_INSTRUCTION});
    if (thread->charged && (thread->charged != execution || thread->is_foreign)) leave(self, thread);
    if (execution->parent && execution->parent->is_open)
        charge_to(self, thread, execution->parent);
    else
        set_charged(thread, NULL);
    Py_RETURN_NONE;
}

static PyObject *engine_switch(Engine *self, PyObject *value) {
    Execution *execution;
    if (!execution_or_none(value, &execution)) return NULL;
    switch_to(self, execution);
    Py_RETURN_NONE;
}

static PyObject *engine_resume(Engine *self, PyObject *value) {
    Execution *execution;
    if (!execution_or_none(value, &execution) || execution == NULL) return NULL;
    Thread *thread = this_thread();
    settle(self, thread);
    int is_parent = thread->charged && thread->charged == execution->parent && !thread->is_foreign;
    if (thread->charged && !is_parent) leave(self, thread);
    execution->own.suspended_ns = 0;
    charge_to(self, thread, execution);
    Py_RETURN_NONE;
}

static PyObject *engine_after_call(Engine *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "after_call(code, started_ns, *, memory, network, disk)");
        return NULL;
    }
    Thread *thread = this_thread();
    Execution *execution = current_execution(self);
    if (execution == NULL || thread->is_muted || !self->is_on) Py_RETURN_NONE;
    int code = (int)PyLong_AsLong(args[0]);
    int64_t started_ns = PyLong_AsLongLong(args[1]), sizes[3] = {0, 0, 0};
    for (Py_ssize_t i = 0; names && i < PyTuple_GET_SIZE(names); i++) {
        Py_UCS4 letter = PyUnicode_READ_CHAR(PyTuple_GET_ITEM(names, i), 0);
        sizes[letter == 'm' ? 0 : letter == 'n' ? 1 : 2] = PyLong_AsLongLong(args[count + i]);
    }
    if (PyErr_Occurred()) return NULL;
    if (code < 0 || code >= CODES) {
        PyErr_Format(PyExc_ValueError, "after_call: code %d is not that of a micro-operation type", code);
        return NULL;
    }
    if (thread->charged != execution) {
        switch_to(self, execution);
        started_ns = thread->elapsed_mark;
    }
    metercast_charge_call(thread, code, started_ns, sizes[0], sizes[1], sizes[2]);
    if (charge_of(thread)->tick != self->tick) {
        settle(self, thread);
        record_charge(self, thread, execution, charge_of(thread));
    }
    Py_RETURN_NONE;
}

static PyObject *engine_count(Engine *self, PyObject *args) {
    PyObject *execution, *meter;
    double units;
    if (!PyArg_ParseTuple(args, "O!Ud", &ExecutionType, &execution, &meter, &units)) return NULL;
    append(self, (Record){elapsed_clock(), 0, 0, 0, 0, 0, units, (Execution *)execution, meter, CUSTOM});
    Py_RETURN_NONE;
}

static PyObject *engine_claim(Engine *self, PyObject *args) {
    PyObject *execution;
    int code;
    long long network;
    if (!PyArg_ParseTuple(args, "O!iL", &ExecutionType, &execution, &code, &network)) return NULL;
    append(self, (Record){elapsed_clock(), 0, 0, network, 0, 0, 0, (Execution *)execution, NULL, code});
    Py_RETURN_NONE;
}

static PyObject *engine_checkpoint(Engine *self, PyObject *Py_UNUSED(ignored)) {
    Thread *thread = this_thread();
    settle(self, thread);
    if (thread->charged) record_charge(self, thread, thread->charged, charge_of(thread));
    for (Execution *execution = current_execution(self); execution; execution = execution->parent)
        if (execution->own.owner == thread->serial && execution->is_open)
            record_charge(self, thread, execution, &execution->own);
    Py_RETURN_NONE;
}

static PyObject *engine_charged(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    Thread *thread = this_thread();
    return Py_NewRef(thread->charged ? (PyObject *)thread->charged : Py_None);
}

static PyObject *engine_mute(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    this_thread()->is_muted = 1;
    Py_RETURN_NONE;
}

static PyObject *engine_reset_after_fork(Engine *self, PyObject *Py_UNUSED(ignored)) {
    Thread *thread = this_thread();
    pthread_mutex_init(&threads_lock, NULL);
    metercast_forget_forked();
    threads = thread;
    thread->next = NULL;
    thread->serial = atomic_fetch_add(&serials, 1) + 1;
    memset(thread->sums, 0, sizeof thread->sums);
    thread->used = 0;
    thread->calls = 0;
    calls_of_ended_threads = 0;
    thread->claimed_ns = thread->claimed_new_ns = 0;
    thread->cpu_mark = cpu_clock(); /* a child's clock starts anew */
    thread->elapsed_mark = elapsed_clock();
    atomic_flag_clear(&thread->lock);
    set_charged(thread, NULL);
    drop_records(self);
    drop_totals(self);
    self->dropped = 0;
    seed_numbers(self);
    Execution *execution = current_execution(self);
    for (Execution *one = execution; one; one = one->parent) one->own = (Charge){0, 0, 0, self->tick, thread->serial};
    switch_to(self, execution);
    Py_RETURN_NONE;
}

/* For the shipper -------------------------------------------------------------------------------------------------- */

/* Collect from every thread what its calls have used so far, also where it will meet no boundary for long. */
static void collect(Engine *self) {
    pthread_mutex_lock(&threads_lock);
    for (Thread **place = &threads; *place;) {
        Thread *thread = *place;
        Sum sums[CODES];
        thread_lock(thread);
        uint32_t used = thread->used;
        Execution *execution = (Execution *)Py_XNewRef(thread->charged);
        if (used && execution) {
            memcpy(sums, thread->sums, sizeof sums);
            memset(thread->sums, 0, sizeof thread->sums);
            thread->used = 0;
            /* what short calls claimed is recorded now and can no longer be given back */
        }
        thread_unlock(thread);
        if (used && execution) record_sums(self, execution, sums, used, elapsed_clock());
        Py_XDECREF(execution);
        if (atomic_load(&thread->is_over)) {
            calls_of_ended_threads += thread->calls;
            *place = thread->next;
            Py_XDECREF(thread->charged);
            free(thread);
        } else {
            place = &thread->next;
        }
    }
    pthread_mutex_unlock(&threads_lock);
}

static PyObject *engine_pending(Engine *self, PyObject *Py_UNUSED(ignored)) {
    collect(self);
    return PyLong_FromSsize_t(self->count);
}

static PyObject *engine_take(Engine *self, PyObject *value) {
    Py_ssize_t limit = PyLong_AsSsize_t(value);
    if (limit == -1 && PyErr_Occurred()) return NULL;
    Py_ssize_t size = limit < self->count ? limit : self->count;
    PyObject *list = PyList_New(size);
    for (Py_ssize_t i = 0; list && i < size; i++) {
        Record record = self->records[self->first];
        self->first = self->first + 1 == self->allocated ? 0 : self->first + 1;
        self->count--;
        PyObject *row = Py_BuildValue(
            "(LNiLLLLLdN)", record.ended_ns, record.execution, record.code, record.cpu_ns, record.memory,
            record.network, record.disk, record.duration_ns, record.units,
            record.meter ? record.meter : Py_NewRef(empty_text));
        if (row == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, i, row);
    }
    return list;
}

static PyObject *engine_take_totals(Engine *self, PyObject *Py_UNUSED(ignored)) {
    PyObject *list = PyList_New(0);
    for (Py_ssize_t i = 0; list && i < self->places; i++) {
        Total *total = &self->totals[i];
        double *sums = total->amounts;
        if (total->user == NULL) continue;
        PyObject *row = Py_BuildValue("((OOiO)[ddddddd])", total->user, total->operation, total->code, total->meter,
                                      sums[0], sums[1], sums[2], sums[3], sums[4], sums[5], sums[6]);
        if (row == NULL || PyList_Append(list, row) < 0) Py_CLEAR(list);
        Py_XDECREF(row);
    }
    if (list) drop_totals(self);
    return list;
}

static PyObject *engine_calls(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    pthread_mutex_lock(&threads_lock);
    int64_t calls = calls_of_ended_threads;
    for (Thread *thread = threads; thread; thread = thread->next) calls += thread->calls;
    pthread_mutex_unlock(&threads_lock);
    return PyLong_FromLongLong(calls);
}

static PyObject *engine_intercept(Engine *Py_UNUSED(self), PyObject *Py_UNUSED(ignored)) {
    return PyBool_FromLong(metercast_intercept());
}

static PyObject *get_is_on(Engine *self, void *Py_UNUSED(closure)) { return PyBool_FromLong(self->is_on); }

static int set_is_on(Engine *self, PyObject *value, void *Py_UNUSED(closure)) {
    self->is_on = value != NULL && PyObject_IsTrue(value) == 1;
    atomic_store(&metercast_is_on, self->is_on);
    return 0;
}

static PyObject *get_capacity(Engine *self, void *Py_UNUSED(closure)) { return PyLong_FromSsize_t(self->capacity); }

static int set_capacity(Engine *self, PyObject *value, void *Py_UNUSED(closure)) {
    Py_ssize_t capacity = value ? PyLong_AsSsize_t(value) : -1;
    if (capacity < 0 || self->count > 0) {
        if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "capacity: set a number >= 0 before recording");
        return -1;
    }
    free(self->records);
    self->records = NULL;
    self->capacity = capacity;
    self->allocated = self->first = 0;
    return 0;
}

static PyGetSetDef engine_properties[] = {
    {"is_on", (getter)get_is_on, (setter)set_is_on, NULL, NULL},
    {"capacity", (getter)get_capacity, (setter)set_capacity, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef engine_members[] = {
    {"current", T_OBJECT_EX, offsetof(Engine, current), READONLY, NULL},
    {"user", T_OBJECT_EX, offsetof(Engine, user), READONLY, NULL},
    {"default_user", T_OBJECT_EX, offsetof(Engine, default_user), 0, NULL},
    {"user_headers", T_OBJECT_EX, offsetof(Engine, user_headers), 0, NULL},
    {"sums_up", T_BOOL, offsetof(Engine, sums_up), 0, NULL},
    {"dropped", T_LONGLONG, offsetof(Engine, dropped), 0, NULL},
    {"tick", T_LONGLONG, offsetof(Engine, tick), 0, NULL},
    {NULL, 0, 0, 0, NULL},
};

#define METHOD(name, flags) {#name, (PyCFunction)(void (*)(void))engine_##name, flags, NULL}
static PyMethodDef engine_methods[] = {
    METHOD(open, METH_FASTCALL | METH_KEYWORDS),
    METHOD(close, METH_O),
    METHOD(switch, METH_O),
    METHOD(resume, METH_O),
    METHOD(after_call, METH_FASTCALL | METH_KEYWORDS),
    METHOD(count, METH_VARARGS),
    METHOD(claim, METH_VARARGS),
    METHOD(checkpoint, METH_NOARGS),
    METHOD(charged, METH_NOARGS),
    METHOD(mute, METH_NOARGS),
    METHOD(reset_after_fork, METH_NOARGS),
    METHOD(pending, METH_NOARGS),
    METHOD(take, METH_O),
    METHOD(take_totals, METH_NOARGS),
    METHOD(calls, METH_NOARGS),
    METHOD(intercept, METH_NOARGS),
    {NULL, NULL, 0, NULL},
};

static PyTypeObject EngineType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "metercast._engine.Engine",
    .tp_doc = "Records micro-operations of this process; the contract of metercast.engine.Engine.",
    .tp_basicsize = sizeof(Engine),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_new = PyType_GenericNew,
    .tp_init = (initproc)engine_init,
    .tp_dealloc = (destructor)engine_dealloc,
    .tp_members = engine_members,
    .tp_getset = engine_properties,
    .tp_methods = engine_methods,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, .m_name = "metercast._engine", .m_doc = "The compiled engine.", .m_size = -1};

PyMODINIT_FUNC PyInit__engine(void) {
    empty_text = PyUnicode_InternFromString("");
    executions_text = PyUnicode_InternFromString("executions");
    if (!empty_text || !executions_text || pthread_key_create(&thread_key, thread_ends) != 0) return NULL;
    if (PyType_Ready(&ExecutionType) < 0 || PyType_Ready(&EngineType) < 0) return NULL;
    PyObject *made = PyModule_Create(&module);
    if (made == NULL || PyModule_AddObjectRef(made, "Engine", (PyObject *)&EngineType) < 0 ||
        PyModule_AddIntConstant(made, "CONTRACT", CONTRACT) < 0 ||
        PyModule_AddObjectRef(made, "Execution", (PyObject *)&ExecutionType) < 0)
        return NULL;
    return made;
}
