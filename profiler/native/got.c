/* Interception of libc where other libraries call it: the slots of their global offset tables are pointed at functions
 * of this file, which count and call on. What crosses to the kernel through libc is seen, whoever calls: the interpreter,
 * SQLite, OpenSSL, libpq, uvloop. Calls that libc makes inside itself are not.
 *
 * The functions run without the GIL and touch no Python object but the thread's charged execution, which the thread owns.
 */
#define _GNU_SOURCE
#include "libc_calls.h"

#ifdef METERCAST_INTERCEPTS
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifdef __x86_64__
#define SLOT_A R_X86_64_JUMP_SLOT
#define SLOT_B R_X86_64_GLOB_DAT
#define SLOT_C R_X86_64_64 /* tables of function pointers, as SQLite has one */
#else
#define SLOT_A R_AARCH64_JUMP_SLOT
#define SLOT_B R_AARCH64_GLOB_DAT
#define SLOT_C R_AARCH64_ABS64
#endif

enum { UNKNOWN, DISK, NETWORK, MEMORY };
#define DESCRIPTORS 65536

typedef struct {
    _Atomic unsigned char kind;
    _Atomic unsigned char is_accepted;
    _Atomic int64_t held; /* received before it was known for whom */
    Execution *sender;    /* the open execution that last sent; guarded by senders_lock */
} Descriptor;

static Descriptor descriptors[DESCRIPTORS];
static pthread_mutex_t senders_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t process;
static int is_intercepting;

static inline int is_known(int descriptor) { return descriptor >= 0 && descriptor < DESCRIPTORS; }

static inline unsigned char known_kind(int descriptor) {
    return is_known(descriptor) ? atomic_load_explicit(&descriptors[descriptor].kind, memory_order_relaxed) : UNKNOWN;
}

static unsigned char learn_kind(int descriptor, mode_t mode) {
    unsigned char kind = S_ISREG(mode) || S_ISBLK(mode) || S_ISDIR(mode) ? DISK : S_ISSOCK(mode) ? NETWORK : MEMORY;
    if (is_known(descriptor)) atomic_store_explicit(&descriptors[descriptor].kind, kind, memory_order_relaxed);
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

/* Whoever opens a file tends to ask for its kind at once, the interpreter always: then it need not be asked for again. */
static int counted_fstat(int descriptor, struct stat *status) {
    int result = fstat(descriptor, status);
    if (result == 0 && known_kind(descriptor) == UNKNOWN) learn_kind(descriptor, status->st_mode);
    return result;
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
    if (thread->charged) metercast_charge_call(thread, NETWORK_SEND, started_ns, 0, size, 0);
}

static void count_receive(Thread *thread, int descriptor, int64_t started_ns, int64_t size) {
    if (!works_for_an_operation(thread) && known_kind(descriptor) == NETWORK) {
        size -= late_for_sender(descriptor, size);
        if (size && atomic_load(&descriptors[descriptor].is_accepted)) {
            atomic_fetch_add(&descriptors[descriptor].held, size);
            size = 0;
        }
    }
    if (thread->charged) metercast_charge_call(thread, NETWORK_RECEIVE, started_ns, 0, size, 0);
}

/* A call on a descriptor. What the descriptor is, is asked before: another thread may close it while the call is under way. */
typedef struct {
    int64_t started_ns; /* UNTIMED where the call is only counted, 0 where nothing is: neither reads the clock */
    unsigned char kind;
} Call;

static void count(int descriptor, int is_write, Call call, int64_t size) {
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

/* Outside of any operation only connections are watched. */
static inline Call start(int descriptor) {
    Thread *thread = metered_thread();
    if (thread == NULL) return (Call){0, UNKNOWN};
    if (thread->charged == NULL) return (Call){known_kind(descriptor) == NETWORK ? UNTIMED : 0, NETWORK};
    int is_timed = atomic_load_explicit(&metercast_times_calls, memory_order_relaxed);
    return (Call){is_timed ? elapsed_clock() : UNTIMED, kind_of(descriptor)};
}

/* Only a socket can be sent to and received from. */
static inline Call start_on_socket(int descriptor) {
    Call call = start(descriptor);
    call.kind = NETWORK;
    return call;
}

int64_t metercast_call_starts(int descriptor) { return start(descriptor).started_ns; }

/* The same for a call that the kernel counts in /proc/PID/io, as it does reading and writing but not send and recv. */
static void count_moved(int descriptor, int is_write, Call call, int64_t size) {
    count(descriptor, is_write, call, size);
    Thread *thread = metered_thread();
    if (thread == NULL || size <= 0) return;
    if (thread->charged || call.kind == NETWORK) thread->moved[is_write] += size;
}

void metercast_count(int descriptor, int is_write, int64_t started_ns, int64_t size) {
    count_moved(descriptor, is_write, (Call){started_ns, kind_of(descriptor)}, size);
}

#define CALLING(name, is_write, starting, counting, parameters, arguments) \
    static ssize_t counted_##name parameters {                             \
        Call call = starting;                                              \
        ssize_t size = name arguments;                                     \
        if (call.started_ns) counting(d, is_write, call, size);            \
        return size;                                                       \
    }
#define COUNTED(name, is_write, parameters, arguments) CALLING(name, is_write, start(d), count_moved, parameters, arguments)
#define SENDING(name, parameters, arguments) CALLING(name, 1, start_on_socket(d), count, parameters, arguments)

COUNTED(read, 0, (int d, void *b, size_t n), (d, b, n))
COUNTED(write, 1, (int d, const void *b, size_t n), (d, b, n))
COUNTED(pread, 0, (int d, void *b, size_t n, off_t o), (d, b, n, o))
COUNTED(pwrite, 1, (int d, const void *b, size_t n, off_t o), (d, b, n, o))
COUNTED(readv, 0, (int d, const struct iovec *v, int n), (d, v, n))
COUNTED(writev, 1, (int d, const struct iovec *v, int n), (d, v, n))
COUNTED(preadv, 0, (int d, const struct iovec *v, int n, off_t o), (d, v, n, o))
COUNTED(pwritev, 1, (int d, const struct iovec *v, int n, off_t o), (d, v, n, o))
COUNTED(preadv2, 0, (int d, const struct iovec *v, int n, off_t o, int f), (d, v, n, o, f))
COUNTED(pwritev2, 1, (int d, const struct iovec *v, int n, off_t o, int f), (d, v, n, o, f))
SENDING(send, (int d, const void *b, size_t n, int f), (d, b, n, f))
SENDING(sendto, (int d, const void *b, size_t n, int f, const struct sockaddr *a, socklen_t l), (d, b, n, f, a, l))
SENDING(sendmsg, (int d, const struct msghdr *m, int f), (d, m, f))

/* A peek leaves the bytes to be read again, so it counts nothing. */
#define RECEIVING(name, parameters, arguments) \
    CALLING(name, 0, f & MSG_PEEK ? (Call){0} : start_on_socket(d), count, parameters, arguments)

RECEIVING(recv, (int d, void *b, size_t n, int f), (d, b, n, f))
RECEIVING(recvfrom, (int d, void *b, size_t n, int f, struct sockaddr *a, socklen_t *l), (d, b, n, f, a, l))
RECEIVING(recvmsg, (int d, struct msghdr *m, int f), (d, m, f))

/* The fortified forms that compilers put in the place of read, pread and recv. */
extern ssize_t __read_chk(int, void *, size_t, size_t), __pread_chk(int, void *, size_t, off_t, size_t),
    __recv_chk(int, void *, size_t, size_t, int);
COUNTED(__read_chk, 0, (int d, void *b, size_t n, size_t m), (d, b, n, m))
COUNTED(__pread_chk, 0, (int d, void *b, size_t n, off_t o, size_t m), (d, b, n, o, m))
RECEIVING(__recv_chk, (int d, void *b, size_t n, size_t m, int f), (d, b, n, m, f))

static int counted_sendmmsg(int d, struct mmsghdr *messages, unsigned int n, int f) {
    Call call = start_on_socket(d);
    int sent = sendmmsg(d, messages, n, f);
    int64_t size = 0;
    for (int i = 0; i < sent; i++) size += messages[i].msg_len;
    if (call.started_ns && sent >= 0) count(d, 1, call, size);
    return sent;
}

static int counted_recvmmsg(int d, struct mmsghdr *messages, unsigned int n, int f, struct timespec *timeout) {
    Call call = start_on_socket(d);
    int received = recvmmsg(d, messages, n, f, timeout);
    int64_t size = 0;
    for (int i = 0; i < received; i++) size += messages[i].msg_len;
    if (call.started_ns && received >= 0) count(d, 0, call, size);
    return received;
}

/* The kernel copies between two descriptors: the same bytes are read from one and written to the other. */
static void count_copy(int from, Call reading, int to, Call writing, int64_t size) {
    if (writing.started_ns) writing.started_ns = UNTIMED; /* the time is the reading's */
    if (reading.started_ns) count_moved(from, 0, reading, size);
    if (writing.started_ns) count_moved(to, 1, writing, size);
}

static ssize_t counted_sendfile(int to, int from, off_t *offset, size_t n) {
    Call writing = start(to), reading = start(from);
    ssize_t size = sendfile(to, from, offset, n);
    count_copy(from, reading, to, writing, size);
    return size;
}

static ssize_t counted_copy_file_range(int from, off_t *a, int to, off_t *b, size_t n, unsigned int flags) {
    Call writing = start(to), reading = start(from);
    ssize_t size = copy_file_range(from, a, to, b, n, flags);
    count_copy(from, reading, to, writing, size);
    return size;
}

/* What a descriptor was is forgotten when it is closed or replaced. A child between vfork and exec, which has this memory
 * too, closes only its own: forgetting what a file was does no harm then, as it is asked for again, but a connection's
 * state is lost. */
static void forget(int descriptor) {
    if (!is_known(descriptor)) return;
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
    }
    if (entry->sender) {
        pthread_mutex_lock(&senders_lock);
        entry->sender = NULL;
        pthread_mutex_unlock(&senders_lock);
    }
}

void metercast_forget(int descriptor) { forget(descriptor); }

static int counted_close(int descriptor) {
    forget(descriptor);
    return close(descriptor);
}

#if __GLIBC_PREREQ(2, 34)
static int counted_close_range(unsigned int first, unsigned int last, int flags) {
    for (unsigned int one = first; one <= last && one < DESCRIPTORS; one++)
        if (atomic_load_explicit(&descriptors[one].kind, memory_order_relaxed) != UNKNOWN) forget((int)one);
    return close_range(first, last, flags);
}
#endif

/* libuv closes by a system call of its own. */
static long counted_syscall(long number, long a, long b, long c, long d, long e, long f) {
    if (number == SYS_close) forget((int)a);
    return syscall(number, a, b, c, d, e, f);
}

static int counted_dup2(int from, int to) {
    if (from != to) forget(to);
    return dup2(from, to);
}

static int counted_dup3(int from, int to, int flags) {
    forget(to);
    return dup3(from, to, flags);
}

static int accepted(int descriptor) {
    if (descriptor >= 0 && descriptor < DESCRIPTORS) {
        atomic_store(&descriptors[descriptor].held, 0);
        atomic_store(&descriptors[descriptor].kind, NETWORK);
        atomic_store(&descriptors[descriptor].is_accepted, 1);
    }
    return descriptor;
}

static int counted_accept(int d, struct sockaddr *a, socklen_t *l) { return accepted(accept(d, a, l)); }
static int counted_accept4(int d, struct sockaddr *a, socklen_t *l, int f) { return accepted(accept4(d, a, l, f)); }

#define ROW(name) {#name, (void *)counted_##name}
static const Replacement replacements[] = {
    ROW(read), ROW(write), ROW(pread), ROW(pwrite), ROW(readv), ROW(writev), ROW(preadv), ROW(pwritev), ROW(preadv2),
    ROW(pwritev2), ROW(send), ROW(sendto), ROW(sendmsg), ROW(sendmmsg), ROW(recv), ROW(recvfrom), ROW(recvmsg),
    ROW(recvmmsg), ROW(sendfile), ROW(copy_file_range), ROW(close), ROW(syscall), ROW(dup2), ROW(dup3),
    ROW(accept), ROW(accept4), ROW(fstat), ROW(__read_chk), ROW(__pread_chk), ROW(__recv_chk),
#if __GLIBC_PREREQ(2, 34)
    ROW(close_range),
#endif
    /* off_t has 64 bits here, so these are the same functions under other names */
    {"pread64", (void *)counted_pread}, {"pwrite64", (void *)counted_pwrite}, {"preadv64", (void *)counted_preadv},
    {"pwritev64", (void *)counted_pwritev}, {"preadv64v2", (void *)counted_preadv2},
    {"pwritev64v2", (void *)counted_pwritev2}, {"sendfile64", (void *)counted_sendfile},
    {"fstat64", (void *)counted_fstat}, {"__pread64_chk", (void *)counted___pread_chk},
};

static void *replacement_of(const char *name) {
    for (size_t i = 0; i < sizeof replacements / sizeof *replacements; i++)
        if (strcmp(name, replacements[i].name) == 0) return replacements[i].function;
    for (const Replacement *one = metercast_stdio; one->name; one++)
        if (strcmp(name, one->name) == 0) return one->function;
    return NULL;
}

typedef struct {
    ElfW(Addr) base, relro_start, relro_end;
    const ElfW(Sym) *symbols;
    const char *names;
} Library;

static void patch_slot(const Library *library, ElfW(Addr) address, void *function) {
    void **slot = (void **)address;
    if (*slot == function) return;
    long page = sysconf(_SC_PAGESIZE);
    int is_read_only = address >= library->relro_start && address < library->relro_end;
    void *place = (void *)(address & ~(ElfW(Addr))(page - 1));
    if (is_read_only && mprotect(place, (size_t)page, PROT_READ | PROT_WRITE) != 0) return;
    __atomic_store_n(slot, function, __ATOMIC_RELEASE);
    if (is_read_only) mprotect(place, (size_t)page, PROT_READ);
}

static void patch_table(const Library *library, const ElfW(Rela) *table, size_t size) {
    for (size_t i = 0; i < size / sizeof *table; i++) {
        unsigned long type = ELF64_R_TYPE(table[i].r_info), symbol = ELF64_R_SYM(table[i].r_info);
        if (type != SLOT_A && type != SLOT_B && (type != SLOT_C || table[i].r_addend)) continue;
        void *function = replacement_of(library->names + library->symbols[symbol].st_name);
        if (function) patch_slot(library, library->base + table[i].r_offset, function);
    }
}

static int is_ours_or_libc(const struct dl_phdr_info *info) {
    const char *file = strrchr(info->dlpi_name, '/');
    file = file ? file + 1 : info->dlpi_name;
    if (!strncmp(file, "libc.so", 7) || !strncmp(file, "libc-", 5) || !strncmp(file, "ld-", 3) ||
        !strncmp(file, "libpthread", 10) || !strncmp(file, "linux-vdso", 10) || strstr(file, "san.so"))
        return 1;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        ElfW(Addr) start = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (ElfW(Addr))patch_table >= start &&
            (ElfW(Addr))patch_table < start + info->dlpi_phdr[i].p_memsz)
            return 1;
    }
    return 0;
}

static int patch_library(struct dl_phdr_info *info, size_t Py_UNUSED(size), void *Py_UNUSED(data)) {
    Library library = {info->dlpi_addr, 0, 0, NULL, NULL};
    const ElfW(Dyn) *dynamic = NULL;
    const ElfW(Rela) *calls = NULL, *others = NULL;
    size_t calls_size = 0, others_size = 0;
    if (is_ours_or_libc(info)) return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type == PT_DYNAMIC) dynamic = (const ElfW(Dyn) *)(library.base + header->p_vaddr);
        if (header->p_type == PT_GNU_RELRO) {
            library.relro_start = library.base + header->p_vaddr;
            library.relro_end = library.relro_start + header->p_memsz;
        }
    }
    for (; dynamic && dynamic->d_tag != DT_NULL; dynamic++) {
        ElfW(Addr) address = dynamic->d_un.d_ptr; /* glibc has already added the base to it */
        if (dynamic->d_tag == DT_SYMTAB) library.symbols = (const ElfW(Sym) *)address;
        if (dynamic->d_tag == DT_STRTAB) library.names = (const char *)address;
        if (dynamic->d_tag == DT_JMPREL) calls = (const ElfW(Rela) *)address;
        if (dynamic->d_tag == DT_PLTRELSZ) calls_size = dynamic->d_un.d_val;
        if (dynamic->d_tag == DT_RELA) others = (const ElfW(Rela) *)address;
        if (dynamic->d_tag == DT_RELASZ) others_size = dynamic->d_un.d_val;
        if (dynamic->d_tag == DT_PLTREL && dynamic->d_un.d_val != DT_RELA) return 0;
    }
    if ((ElfW(Addr))library.symbols < library.base || library.names == NULL) return 0; /* the vDSO, or not relocated */
    if (calls) patch_table(&library, calls, calls_size);
    if (others) patch_table(&library, others, others_size);
    return 0;
}

static int count_loads(struct dl_phdr_info *info, size_t Py_UNUSED(size), void *loads) {
    *(unsigned long long *)loads = info->dlpi_adds;
    return 1;
}

/* Point the slots of every library loaded now at this file; returns 1, and does nothing when none was added since. */
int metercast_intercept(void) {
    static unsigned long long known;
    unsigned long long loads = 0;
    dl_iterate_phdr(count_loads, &loads);
    process = getpid();
    if (is_intercepting && loads == known) return 1;
    known = loads;
    is_intercepting = 1;
    dl_iterate_phdr(patch_library, NULL);
    return 1;
}

void metercast_forget_forked(void) {
    pthread_mutex_init(&senders_lock, NULL);
    process = getpid();
    for (int i = 0; is_intercepting && i < DESCRIPTORS; i++) {
        if (atomic_load_explicit(&descriptors[i].kind, memory_order_relaxed) == UNKNOWN) continue;
        atomic_store(&descriptors[i].held, 0); /* the parent's to claim */
    }
}

#else /* elsewhere the hooks of Python serve */

int metercast_intercept(void) { return 0; }
void metercast_forget_forked(void) {}
int64_t metercast_end_execution(Execution *execution) {
    execution->is_open = 0;
    return 0;
}

#endif
