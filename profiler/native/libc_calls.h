/* What the files that intercept libc share. */
#ifndef METERCAST_LIBC_CALLS_H
#define METERCAST_LIBC_CALLS_H

#include "engine.h"
#include <sys/types.h>

#if defined(__linux__) && defined(__GLIBC__) && (defined(__x86_64__) || defined(__aarch64__)) && __SIZEOF_POINTER__ == 8
#define METERCAST_INTERCEPTS

/* A function that is called in the place of libc's of that name. */
typedef struct {
    const char *name;
    void *function;
} Replacement;

/* libc_calls.c and stdio.c; each ends with a row of NULL */
extern const Replacement metercast_calls[], metercast_stdio[];

/* descriptors.c */

enum { UNKNOWN, DISK, NETWORK, MEMORY };
#define DESCRIPTORS 65536

static inline int is_descriptor(int descriptor) { return descriptor >= 0 && descriptor < DESCRIPTORS; }

/* A call on a descriptor. What the descriptor is, is asked before: another thread may close it while the call is under way. */
typedef struct {
    int64_t started_ns; /* UNTIMED where the call is only counted, 0 where nothing is: neither reads the clock */
    unsigned char kind;
} Call;

/* Outside of any operation only connections are watched. */
Call start_call(int descriptor);
void count_call(int descriptor, int is_write, Call call, int64_t size);
/* The same for a call that the kernel counts in /proc/PID/io, as it does reading and writing but not send and recv. */
void count_moved(int descriptor, int is_write, Call call, int64_t size);
void metercast_is_socket(int descriptor, int is_accepted);
int metercast_is_descriptor_known(int descriptor);
void metercast_learn(int descriptor, mode_t mode);
void metercast_watch_forks(void);
void metercast_give_up_held(int descriptor); /* received for nobody, as it turns out */

/* When a call on a descriptor began; 0: nothing is to be counted. */
int64_t metercast_call_starts(int descriptor);
/* Count the bytes of a call on a descriptor that began at `started_ns` and ends now. */
void metercast_count(int descriptor, int is_write, int64_t started_ns, int64_t size);
/* The descriptor is being closed, or becomes another. What it was is forgotten. */
void metercast_forget(int descriptor);

/* connections.c */

void connection_begins(int descriptor);
/* So many bytes are charged to an operation, or will be; below zero: they were not. */
void connection_explained(int descriptor, int is_sent, int64_t size);
void connection_is_shared(int descriptor); /* with another descriptor or process: it is watched no more */
void connection_ends(int descriptor);
void connections_are_shared(void); /* all of them, with a forked child */
void connections_are_parents(void); /* in that child */

#endif
#endif
