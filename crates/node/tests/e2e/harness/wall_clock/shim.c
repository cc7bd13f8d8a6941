/* A wall clock that is set anew, for one process: loaded with LD_PRELOAD by a test.
 *
 * The test writes by how much the clock is off into the file REHOME_CLOCK_CONTROL, which is mapped;
 * what the program reads of the wall clock is counted there. Its other clocks are left alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile int64_t offset_us;
    volatile uint64_t reads; /* counted */
};

static struct control *control;
static int (*real_gettime)(clockid_t, struct timespec *);

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("REHOME_CLOCK_CONTROL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (mapped != MAP_FAILED) control = mapped;
        close(fd);
    }
    real_gettime = dlsym(RTLD_NEXT, "clock_gettime");
}

/* An allocator may ask for the time before `begin`. */
static int unshifted(clockid_t clock, struct timespec *at) {
    return real_gettime ? real_gettime(clock, at) : (int)syscall(SYS_clock_gettime, clock, at);
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = unshifted(clock, at);
    int is_wall = clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
    if (failed || !is_wall || !control) return failed;
    __atomic_add_fetch(&control->reads, 1, __ATOMIC_RELAXED);
    int64_t offset = control->offset_us;
    int64_t us = at->tv_nsec / 1000 + offset % 1000000;
    at->tv_sec += offset / 1000000;
    if (us < 0) us += 1000000, at->tv_sec--;
    if (us >= 1000000) us -= 1000000, at->tv_sec++;
    at->tv_nsec = us * 1000 + at->tv_nsec % 1000;
    return 0;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    (void)zone;
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
