// Preloaded into the program: makes the disk under the journal fail while a control file exists.
//
// TRUNKLINE_FAULT is the beginning of the names of the control files: with ".sync" behind it, syncs of journal.db and its
// log fail with EIO; with ".write", writes to them fail with ENOSPC.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int fails(int fd, const char *kind) {
    const char *control = getenv("TRUNKLINE_FAULT");
    if (control == NULL) return 0;
    char name[4096], path[4096];
    snprintf(name, sizeof name, "%s.%s", control, kind);
    int before = errno;
    if (access(name, F_OK) != 0) {
        errno = before;
        return 0;
    }
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(name, path, sizeof path - 1);
    errno = before;
    if (length < 0) return 0;
    path[length] = '\0';
    return strstr(path, "journal.db") != NULL;
}

#define REAL(result, name, ...)                              \
    static result (*real)(__VA_ARGS__);                      \
    if (real == NULL) real = dlsym(RTLD_NEXT, name);

#define FAIL(fd, kind, error)                                \
    if (fails(fd, kind)) {                                   \
        errno = error;                                       \
        return -1;                                           \
    }

int fsync(int fd) {
    REAL(int, "fsync", int)
    FAIL(fd, "sync", EIO)
    return real(fd);
}

int fdatasync(int fd) {
    REAL(int, "fdatasync", int)
    FAIL(fd, "sync", EIO)
    return real(fd);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(ssize_t, "write", int, const void *, size_t)
    FAIL(fd, "write", ENOSPC)
    return real(fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t)
    FAIL(fd, "write", ENOSPC)
    return real(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t)
    FAIL(fd, "write", ENOSPC)
    return real(fd, bytes, count, offset);
}
