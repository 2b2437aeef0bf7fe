/* The functions that are called in the place of libc's: each counts, and calls libc's. */
#define _GNU_SOURCE
#include "libc_calls.h"

#ifdef METERCAST_INTERCEPTS
#include <fcntl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* Only a socket can be sent to and received from. */
static inline Call start_on_socket(int descriptor) {
    Call call = start_call(descriptor);
    call.kind = NETWORK;
    return call;
}

/* Whoever opens a file tends to ask for its kind at once, the interpreter always: then it need not be asked for again. */
static int counted_fstat(int descriptor, struct stat *status) {
    int result = fstat(descriptor, status);
    if (result == 0) metercast_learn(descriptor, status->st_mode);
    return result;
}

#define CALLING(name, is_write, starting, counting, parameters, arguments) \
    static ssize_t counted_##name parameters {                             \
        Call call = starting;                                              \
        ssize_t size = name arguments;                                     \
        if (call.started_ns) counting(d, is_write, call, size);            \
        return size;                                                       \
    }
#define COUNTED(name, is_write, parameters, arguments) CALLING(name, is_write, start_call(d), count_moved, parameters, arguments)
#define SENDING(name, parameters, arguments) CALLING(name, 1, start_on_socket(d), count_call, parameters, arguments)

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

/* Descriptors that are handed to another process are shared with it. */
static Call start_of_message(int descriptor, const struct msghdr *message) {
    const struct cmsghdr *part = message && message->msg_controllen ? CMSG_FIRSTHDR(message) : NULL;
    for (; part; part = CMSG_NXTHDR((struct msghdr *)message, (struct cmsghdr *)part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) continue;
        const int *handed = (const int *)CMSG_DATA(part);
        for (size_t i = 0; i < (part->cmsg_len - CMSG_LEN(0)) / sizeof *handed; i++) connection_is_shared(handed[i]);
    }
    return start_on_socket(descriptor);
}

CALLING(sendmsg, 1, start_of_message(d, m), count_call, (int d, const struct msghdr *m, int f), (d, m, f))

/* A peek leaves the bytes to be read again, so it counts nothing. */
#define RECEIVING(name, parameters, arguments) \
    CALLING(name, 0, f & MSG_PEEK ? (Call){0} : start_on_socket(d), count_call, parameters, arguments)

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
    if (call.started_ns && sent >= 0) count_call(d, 1, call, size);
    return sent;
}

static int counted_recvmmsg(int d, struct mmsghdr *messages, unsigned int n, int f, struct timespec *timeout) {
    Call call = start_on_socket(d);
    int received = recvmmsg(d, messages, n, f, timeout);
    int64_t size = 0;
    for (int i = 0; i < received; i++) size += messages[i].msg_len;
    if (call.started_ns && received >= 0) count_call(d, 0, call, size);
    return received;
}

/* The kernel copies between two descriptors: the same bytes are read from one and written to the other. */
static void count_copy(int from, Call reading, int to, Call writing, int64_t size) {
    if (writing.started_ns) writing.started_ns = UNTIMED; /* the time is the reading's */
    if (reading.started_ns) count_moved(from, 0, reading, size);
    if (writing.started_ns) count_moved(to, 1, writing, size);
}

static ssize_t counted_sendfile(int to, int from, off_t *offset, size_t n) {
    Call writing = start_call(to), reading = start_call(from);
    ssize_t size = sendfile(to, from, offset, n);
    count_copy(from, reading, to, writing, size);
    return size;
}

static ssize_t counted_copy_file_range(int from, off_t *a, int to, off_t *b, size_t n, unsigned int flags) {
    Call writing = start_call(to), reading = start_call(from);
    ssize_t size = copy_file_range(from, a, to, b, n, flags);
    count_copy(from, reading, to, writing, size);
    return size;
}

static int counted_close(int descriptor) {
    metercast_forget(descriptor);
    return close(descriptor);
}

#if __GLIBC_PREREQ(2, 34)
static int counted_close_range(unsigned int first, unsigned int last, int flags) {
    for (unsigned int one = first; one <= last && one < DESCRIPTORS; one++)
        if (metercast_is_descriptor_known((int)one)) metercast_forget((int)one);
    return close_range(first, last, flags);
}
#endif

/* libuv closes by a system call of its own. */
static long counted_syscall(long number, long a, long b, long c, long d, long e, long f) {
    if (number == SYS_close) metercast_forget((int)a);
    return syscall(number, a, b, c, d, e, f);
}

/* Two descriptors of one connection: the kernel counts for both what each of them sees a part of. */
static int counted_dup(int from) {
    connection_is_shared(from);
    return dup(from);
}

static int counted_fcntl(int descriptor, int command, long argument) {
    if (command == F_DUPFD || command == F_DUPFD_CLOEXEC) connection_is_shared(descriptor);
    return fcntl(descriptor, command, argument);
}

static int counted_dup2(int from, int to) {
    connection_is_shared(from);
    if (from != to) metercast_forget(to);
    return dup2(from, to);
}

static int counted_dup3(int from, int to, int flags) {
    connection_is_shared(from);
    metercast_forget(to);
    return dup3(from, to, flags);
}

static int counted_socket(int domain, int type, int protocol) {
    int descriptor = socket(domain, type, protocol);
    int is_tcp = (domain == AF_INET || domain == AF_INET6) && (type & 0xf) == SOCK_STREAM; /* the rest are flags */
    if (is_tcp) metercast_is_socket(descriptor, 0);
    return descriptor;
}

static int accepted(int descriptor) {
    metercast_is_socket(descriptor, 1);
    return descriptor;
}

static int counted_accept(int d, struct sockaddr *a, socklen_t *l) { return accepted(accept(d, a, l)); }
static int counted_accept4(int d, struct sockaddr *a, socklen_t *l, int f) { return accepted(accept4(d, a, l, f)); }

#define ROW(name) {#name, (void *)counted_##name}
const Replacement metercast_calls[] = {
    ROW(read), ROW(write), ROW(pread), ROW(pwrite), ROW(readv), ROW(writev), ROW(preadv), ROW(pwritev), ROW(preadv2),
    ROW(pwritev2), ROW(send), ROW(sendto), ROW(sendmsg), ROW(sendmmsg), ROW(recv), ROW(recvfrom), ROW(recvmsg),
    ROW(recvmmsg), ROW(sendfile), ROW(copy_file_range), ROW(close), ROW(syscall), ROW(dup), ROW(dup2), ROW(dup3),
    ROW(socket), ROW(accept), ROW(accept4), ROW(fcntl), ROW(fstat), ROW(__read_chk), ROW(__pread_chk), ROW(__recv_chk),
#if __GLIBC_PREREQ(2, 34)
    ROW(close_range),
#endif
    /* off_t has 64 bits here, so these are the same functions under other names */
    {"pread64", (void *)counted_pread}, {"pwrite64", (void *)counted_pwrite}, {"preadv64", (void *)counted_preadv},
    {"pwritev64", (void *)counted_pwritev}, {"preadv64v2", (void *)counted_preadv2},
    {"pwritev64v2", (void *)counted_pwritev2}, {"sendfile64", (void *)counted_sendfile},
    {"fstat64", (void *)counted_fstat}, {"fcntl64", (void *)counted_fcntl}, {"__pread64_chk", (void *)counted___pread_chk},
    {NULL, NULL},
};

#endif
