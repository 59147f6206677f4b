/* Wraps waits that libfaketime 0.9.10 does not speed up, or during which signal handlers see the
 * real time. fake_clock.sh compiles this file and preloads the result before libfaketime.
 *
 * - epoll_wait: libfaketime shows the real time to a signal handler that interrupts it, so
 *   PostgreSQL's lock_timeout, deadlock_timeout and statement_timeout never fired during a wait.
 *   It also cuts fractions of a millisecond off, and the caller then polls in a loop.
 * - setitimer: PostgreSQL's timeouts.
 * - futex: timed waits of Rust's standard library, whose deadlines are on the faked clock. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>

static double factor = 1;
static long (*real_syscall)(long, ...);

__attribute__((constructor)) static void initialize(void) {
    const char *setting = getenv("FAKETIME"), *rate = setting ? strchr(setting, 'x') : NULL;
    if (rate) factor = atof(rate + 1);
    real_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
}

static struct timespec from_ns(int64_t ns) {
    if (ns < 0) ns = 0;
    return (struct timespec){.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
}

static int64_t to_ns(const struct timespec *time) {
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

int epoll_pwait(int epoll, struct epoll_event *events, int max, int timeout, const sigset_t *mask) {
    struct timespec real = from_ns(timeout * 1e6 / factor), *limit = timeout < 0 ? NULL : &real;
    int ready = real_syscall(SYS_epoll_pwait2, epoll, events, max, limit, mask, 8);
    if (ready >= 0 || errno != ENOSYS) return ready;
    /* Linux before 5.11 counts milliseconds; rounded up. */
    if (timeout > 0) timeout = timeout / factor + 0.999;
    return real_syscall(SYS_epoll_pwait, epoll, events, max, timeout, mask, 8);
}

int epoll_wait(int epoll, struct epoll_event *events, int max, int timeout) {
    return epoll_pwait(epoll, events, max, timeout, NULL);
}

static struct timeval scaled(struct timeval time, double by) {
    /* Rounded up, because zero would stop the timer. */
    int64_t us = (time.tv_sec * 1e6 + time.tv_usec) * by + 0.999;
    return (struct timeval){.tv_sec = us / 1000000, .tv_usec = us % 1000000};
}

int setitimer(__itimer_which_t which, const struct itimerval *new, struct itimerval *old) {
    struct itimerval real = {scaled(new->it_interval, 1 / factor), scaled(new->it_value, 1 / factor)};
    int result = real_syscall(SYS_setitimer, which, which == ITIMER_REAL ? &real : new, old);
    if (result == 0 && old && which == ITIMER_REAL)
        *old = (struct itimerval){scaled(old->it_interval, factor), scaled(old->it_value, factor)};
    return result;
}

long syscall(long number, ...) {
    long argument[6];
    struct timespec now, real;
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++) argument[i] = va_arg(list, long);
    va_end(list);
    const struct timespec *timeout = (const struct timespec *)argument[3];
    int operation = argument[1] & FUTEX_CMD_MASK;
    if (number == SYS_futex && timeout && operation == FUTEX_WAIT) {
        real = from_ns(to_ns(timeout) / factor);
        argument[3] = (long)&real;
    } else if (number == SYS_futex && timeout && operation == FUTEX_WAIT_BITSET) {
        clockid_t clock = argument[1] & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;
        clock_gettime(clock, &now);
        int64_t left = (to_ns(timeout) - to_ns(&now)) / factor;
        real_syscall(SYS_clock_gettime, clock, &now);
        real = from_ns(to_ns(&now) + left);
        argument[3] = (long)&real;
    }
    return real_syscall(number, argument[0], argument[1], argument[2], argument[3], argument[4],
                        argument[5]);
}
