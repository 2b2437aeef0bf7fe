/* Compares what was charged of each TCP connection with what the kernel counted for it (TCP_INFO): the rest was moved by
 * calls that no hook sees, or for no operation. Asked when a connection is closed and at flushes, never by the call.
 *
 * Watched are connections that this process opened or accepted since it is metered, and shares with nobody.
 */
#define _GNU_SOURCE
#include "libc_calls.h"

#ifdef METERCAST_INTERCEPTS
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define AT_ONCE 512 /* connections asked for at a flush; the others at the next ones */

/* What the kernel's `struct tcp_info` holds since Linux 4.19, by offset: its header may be older than the kernel. */
enum { STATE = 0, BYTES_RECEIVED = 128, NOT_SENT = 144, BYTES_SENT = 200, BYTES_SENT_AGAIN = 208, INFO_SIZE = 216 };
/* States of TCP after a FIN was received, and in which one is being sent (include/net/tcp_states.h) */
enum { FIN_WAIT = 4, TIME_WAIT = 6, CLOSED = 7, CLOSE_WAIT = 8, LAST_ACK = 9, LISTENING = 10, CLOSING = 11 };

/* Bytes [received, sent]. */
typedef struct {
    _Atomic unsigned char is_watched;
    _Atomic int64_t explained[2]; /* by hooks, for an operation */
    int64_t told[2];              /* unexplained ones that are in `unexplained` */
    int64_t before[2], explained_before[2]; /* at the last flush */
} Connection;

static Connection connections[DESCRIPTORS];
static int64_t unexplained[2];
static _Atomic int highest;
static pthread_mutex_t asking = PTHREAD_MUTEX_INITIALIZER; /* guards all but `is_watched` and `explained` */

static inline int is_watched(int descriptor) {
    return is_descriptor(descriptor) && atomic_load_explicit(&connections[descriptor].is_watched, memory_order_relaxed);
}

void connection_begins(int descriptor) {
    Connection *connection = &connections[descriptor];
    const Thread *thread = metercast_thread;
    pthread_mutex_lock(&asking);
    for (int way = 0; way < 2; way++) {
        atomic_store(&connection->explained[way], 0);
        connection->told[way] = connection->before[way] = connection->explained_before[way] = 0;
    }
    atomic_store(&connection->is_watched, atomic_load(&metercast_is_on) && !(thread && thread->is_muted));
    if (descriptor > highest) highest = descriptor;
    pthread_mutex_unlock(&asking);
}

void connection_explained(int descriptor, int is_sent, int64_t size) {
    if (!is_watched(descriptor)) return;
    atomic_fetch_add_explicit(&connections[descriptor].explained[is_sent], size, memory_order_relaxed);
}

void connection_is_shared(int descriptor) {
    if (is_watched(descriptor)) atomic_store(&connections[descriptor].is_watched, 0);
}

static int64_t number_at(const unsigned char *info, int offset) {
    int64_t number;
    memcpy(&number, info + offset, sizeof number);
    return number;
}

/* What the kernel counted for a connection so far, without bytes that can still be read; 0: it does not tell. */
static int ask_kernel(int descriptor, int is_ending, int64_t moved[2]) {
    unsigned char info[512];
    socklen_t size = sizeof info;
    uint32_t not_sent;
    int unread = 0;
    if (getsockopt(descriptor, IPPROTO_TCP, 11 /* TCP_INFO */, info, &size) != 0 || size < INFO_SIZE) return 0;
    int state = info[STATE];
    if (state == LISTENING || (!is_ending && ioctl(descriptor, FIONREAD, &unread) != 0)) return 0;
    memcpy(&not_sent, info + NOT_SENT, sizeof not_sent);
    if (not_sent && (state == FIN_WAIT || state == CLOSING || state == LAST_ACK)) not_sent--; /* a FIN counts as a byte */
    int has_fin = state == CLOSE_WAIT || state == LAST_ACK || state == CLOSING || state == TIME_WAIT;
    moved[0] = number_at(info, BYTES_RECEIVED) - unread - has_fin;
    moved[1] = number_at(info, BYTES_SENT) - number_at(info, BYTES_SENT_AGAIN) + not_sent;
    if (state == CLOSED && moved[0] - atomic_load(&connections[descriptor].explained[0]) == 1) moved[0]--; /* a FIN, or a reset */
    return 1;
}

/* `is_ending`: tell all; else what has been unexplained since the last flush, with nothing charged meanwhile: then no call
 * is under way that the kernel has counted and a hook has not yet. */
static void compare(int descriptor, int is_ending) {
    Connection *connection = &connections[descriptor];
    int64_t moved[2], explained[2] = {atomic_load(&connection->explained[0]), atomic_load(&connection->explained[1])};
    if (!ask_kernel(descriptor, is_ending, moved)) {
        atomic_store(&connection->is_watched, 0);
        return;
    }
    for (int way = 0; way < 2; way++) {
        if (is_ending) explained[way] = atomic_load(&connection->explained[way]);
        int64_t rest = moved[way] - explained[way], quiet = rest;
        if (!is_ending && explained[way] != connection->explained_before[way]) quiet = 0;
        if (!is_ending && connection->before[way] < quiet) quiet = connection->before[way];
        connection->before[way] = rest;
        connection->explained_before[way] = explained[way];
        if (quiet <= connection->told[way]) continue;
        unexplained[way] += quiet - connection->told[way];
        connection->told[way] = quiet;
    }
}

void connection_ends(int descriptor) {
    if (!is_watched(descriptor)) return;
    int error = errno;
    pthread_mutex_lock(&asking);
    if (atomic_load(&metercast_is_on)) compare(descriptor, 1);
    atomic_store(&connections[descriptor].is_watched, 0);
    pthread_mutex_unlock(&asking);
    errno = error;
}

void metercast_unexplained(int is_ending, int64_t bytes[2]) {
    static int next; /* that was not asked for at the last flush; the shipping thread's alone */
    int limit = is_ending ? DESCRIPTORS : AT_ONCE, last = highest;
    for (int i = 0; i <= last && limit > 0; i++) {
        int descriptor = next++ % (last + 1);
        if (!is_watched(descriptor)) continue;
        pthread_mutex_lock(&asking); /* for one at a time, as threads that open and close others wait for it */
        if (is_ending) metercast_give_up_held(descriptor);
        if (is_watched(descriptor)) compare(descriptor, is_ending);
        pthread_mutex_unlock(&asking);
        limit--;
    }
    next %= last + 1;
    pthread_mutex_lock(&asking);
    bytes[0] = unexplained[0], bytes[1] = unexplained[1];
    pthread_mutex_unlock(&asking);
}

void metercast_explain_all(void) {
    pthread_mutex_lock(&asking);
    for (int i = 0; i <= highest; i++) {
        int64_t moved[2];
        Connection *connection = &connections[i];
        if (!is_watched(i)) continue;
        if (!ask_kernel(i, 0, moved)) atomic_store(&connection->is_watched, 0);
        for (int way = 0; way < 2 && is_watched(i); way++)
            atomic_store(&connection->explained[way], moved[way] - connection->told[way]);
    }
    pthread_mutex_unlock(&asking);
}

void connections_are_parents(void) {
    pthread_mutex_init(&asking, NULL); /* another thread may have had it */
    connections_are_shared();
}

void connections_are_shared(void) {
    for (int i = 0; i <= highest; i++) atomic_store(&connections[i].is_watched, 0);
}

#else

void metercast_unexplained(int is_ending, int64_t bytes[2]) {
    (void)is_ending;
    bytes[0] = bytes[1] = 0;
}
void metercast_explain_all(void) {}

#endif
