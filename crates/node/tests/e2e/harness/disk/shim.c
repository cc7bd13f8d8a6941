/* A disk that is slow, full, or fails, for one process: loaded with LD_PRELOAD by a test.
 *
 * Only files in the folder REHOME_DISK_FOLDER are touched. The test switches the faults in the file
 * REHOME_DISK_CONTROL, which is mapped; the program's calls are counted there. With
 * REHOME_DISK_SYNCED, what has been synced is copied to that folder: the content of each file by
 * the number of its inode, and the names that the synced folder has. A power failure leaves that.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    volatile uint64_t sync_delay_ms; /* of each sync */
    volatile uint64_t sync_fail_in;  /* the n-th sync from now on fails, once; 0: none */
    volatile int64_t room;           /* bytes by which files may still grow; below 0: no bound */
    volatile uint64_t read_fail;     /* 1: reads fail; above: those of the file of this inode do */
    volatile uint64_t syncs, writes; /* counted */
    volatile uint64_t syncs_failed, writes_refused, reads_failed;
};

static struct control *control;
static const char *folder, *synced;

static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_read)(int, void *, size_t);
static ssize_t (*real_pread)(int, void *, size_t, off_t);

__attribute__((constructor)) static void begin(void) {
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_read = dlsym(RTLD_NEXT, "read");
    real_pread = dlsym(RTLD_NEXT, "pread64");
    const char *path = getenv("REHOME_DISK_CONTROL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *mapped = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (mapped != MAP_FAILED) control = mapped;
        close(fd);
    }
    synced = getenv("REHOME_DISK_SYNCED");
    folder = getenv("REHOME_DISK_FOLDER");
}

/* Whether the descriptor is of a file in the folder, or of the folder itself. */
static int is_ours(int fd) {
    if (!control || !folder) return 0;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    size_t own = strlen(folder);
    return !strncmp(path, folder, own) && (path[own] == '/' || path[own] == 0);
}

static void copy_file(int fd, ino_t inode) {
    char name[PATH_MAX], fresh[PATH_MAX], link[64];
    snprintf(name, sizeof name, "%s/%lu", synced, (unsigned long)inode);
    snprintf(fresh, sizeof fresh, "%s/%lu.fresh", synced, (unsigned long)inode);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int from = open(link, O_RDONLY | O_CLOEXEC), to = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (from < 0 || to < 0) abort();
    static char buffer[1 << 16];
    for (ssize_t length; (length = real_read(from, buffer, sizeof buffer)) > 0;)
        if (real_write(to, buffer, length) != length) abort();
    close(from);
    close(to);
    if (rename(fresh, name)) abort();
}

static void copy_names(void) {
    char name[PATH_MAX], fresh[PATH_MAX];
    snprintf(name, sizeof name, "%s/names", synced);
    snprintf(fresh, sizeof fresh, "%s/names.fresh", synced);
    DIR *all = opendir(folder);
    FILE *to = fopen(fresh, "we");
    if (!all || !to) abort();
    for (struct dirent *entry; (entry = readdir(all));)
        if (entry->d_type == DT_REG) fprintf(to, "%lu %s\n", (unsigned long)entry->d_ino, entry->d_name);
    closedir(all);
    fclose(to);
    if (rename(fresh, name)) abort();
}

static int synced_by(int (*real)(int), int fd) {
    if (!is_ours(fd)) return real(fd);
    __atomic_add_fetch(&control->syncs, 1, __ATOMIC_SEQ_CST);
    uint64_t delay = control->sync_delay_ms;
    struct timespec time = {delay / 1000, delay % 1000 * 1000000};
    if (delay) nanosleep(&time, NULL);
    if (control->sync_fail_in && !--control->sync_fail_in) {
        control->syncs_failed++;
        errno = EIO;
        return -1;
    }
    if (synced) {
        struct stat status;
        if (fstat(fd, &status)) abort();
        S_ISDIR(status.st_mode) ? copy_names() : copy_file(fd, status.st_ino);
        return 0;
    }
    return real(fd);
}

int fsync(int fd) { return synced_by(real_fsync, fd); }
int fdatasync(int fd) { return synced_by(real_fdatasync, fd); }

/* How much of a write there is room for; -1 when there is none for its first byte. */
static ssize_t room_for(int fd, off_t at, size_t length) {
    control->writes++;
    struct stat status;
    if (control->room < 0 || fstat(fd, &status) || !S_ISREG(status.st_mode)) return length;
    int64_t growth = at + (int64_t)length - status.st_size;
    if (growth <= 0) return length;
    if (growth > (int64_t)length) growth = length;
    int64_t room = control->room;
    if (growth > room) {
        control->writes_refused++;
        control->room = 0;
        ssize_t fits = (int64_t)length - growth + room;
        return fits > 0 ? fits : -1;
    }
    control->room = room - growth;
    return length;
}

static ssize_t positioned(int fd, const void *bytes, size_t length, off_t at) {
    if (is_ours(fd)) {
        ssize_t fits = room_for(fd, at, length);
        if (fits < 0) return errno = ENOSPC, -1;
        length = fits;
    }
    return real_pwrite(fd, bytes, length, at);
}

ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) {
    return positioned(fd, bytes, length, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t at) {
    return positioned(fd, bytes, length, at);
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (fd > 2 && is_ours(fd)) {
        ssize_t fits = room_for(fd, lseek(fd, 0, SEEK_CUR), length);
        if (fits < 0) return errno = ENOSPC, -1;
        length = fits;
    }
    return real_write(fd, bytes, length);
}

static int read_fails(int fd) {
    if (fd <= 2 || !control || !control->read_fail || !is_ours(fd)) return 0;
    struct stat status;
    uint64_t wanted = control->read_fail;
    if (wanted > 1 && (fstat(fd, &status) || status.st_ino != wanted)) return 0;
    control->reads_failed++;
    errno = EIO;
    return 1;
}

ssize_t read(int fd, void *bytes, size_t length) {
    return read_fails(fd) ? -1 : real_read(fd, bytes, length);
}
ssize_t pread(int fd, void *bytes, size_t length, off_t at) {
    return read_fails(fd) ? -1 : real_pread(fd, bytes, length, at);
}
ssize_t pread64(int fd, void *bytes, size_t length, off_t at) {
    return read_fails(fd) ? -1 : real_pread(fd, bytes, length, at);
}
