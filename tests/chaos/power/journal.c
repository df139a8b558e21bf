/* Notes what a process does to the files under JOURNAL_ROOT, in order, into the file JOURNAL.

   cc -shared -fPIC -O1 -o journal.so journal.c -lpthread; LD_PRELOAD=journal.so PROGRAM

   A record is its head and `size` bytes: what was written, or paths that end with a zero each. The time,
   of CLOCK_MONOTONIC, is after the call: who was answered later was answered with its effect. One lock
   holds calls and notes together, so that the order of the notes is that of the effects. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { OPENED = 1, WROTE, CUT, SYNCED, RENAMED, LINKED, UNLINKED, MADE_FOLDER };

struct head {
  uint64_t time_ns, file; /* the file: its inode */
  int64_t offset;
  uint32_t what, size;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int journal = -1;
static char root[PATH_MAX];
static size_t root_size;

__attribute__((constructor)) static void start(void) {
  const char *to = getenv("JOURNAL"), *of = getenv("JOURNAL_ROOT");
  if (!to || !of || !realpath(of, root)) return;
  root_size = strlen(root);
  journal = syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void note(uint32_t what, uint64_t file, int64_t offset, const void *data, size_t size) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  struct head head = {now.tv_sec * 1000000000ull + now.tv_nsec, file, offset, what, size};
  struct iovec parts[] = {{&head, sizeof head}, {(void *)data, size}};
  int before = errno;
  if (syscall(SYS_writev, journal, parts, 2) != (long)(sizeof head + size)) abort();
  errno = before;
}

/* The absolute path of what a call names, without its last link followed; whether it is ours. */
static int ours(int folder, const char *path, char *full) {
  char parent[PATH_MAX], given[PATH_MAX * 2];
  if (journal < 0 || !path) return 0;
  if (path[0] == '/' || folder == AT_FDCWD) {
    snprintf(given, sizeof given, "%s", path);
  } else {
    char link[64], at[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t size = readlink(link, at, sizeof at - 1);
    if (size < 0) return 0;
    at[size] = 0;
    snprintf(given, sizeof given, "%s/%s", at, path);
  }
  char *slash = strrchr(given, '/');
  const char *name = slash ? slash + 1 : given;
  if (!slash) strcpy(parent, "."); else if (slash == given) strcpy(parent, "/");
  else snprintf(parent, sizeof parent, "%.*s", (int)(slash - given), given);
  char resolved[PATH_MAX];
  if (!realpath(parent, resolved)) return 0;
  if (!*name || !strcmp(name, ".")) snprintf(full, PATH_MAX, "%s", resolved);
  else if (snprintf(full, PATH_MAX, "%s/%s", resolved, name) >= PATH_MAX) abort();
  return !strncmp(full, root, root_size) && (full[root_size] == '/' || !full[root_size]);
}

/* Whether an open file is one of ours that is still to be noted; its inode. */
static int open_ours(int fd, uint64_t *file) {
  char link[64], path[PATH_MAX];
  struct stat about;
  if (journal < 0) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t size = readlink(link, path, sizeof path - 1);
  if (size < 0 || path[0] != '/') return 0; /* sockets and pipes are told apart at once */
  path[size] = 0;
  if (strncmp(path, root, root_size) || fstat(fd, &about)) return 0;
  *file = about.st_ino;
  return 1;
}

static uint64_t inode(const char *path) {
  struct stat about;
  return lstat(path, &about) ? 0 : about.st_ino;
}

static int opened(int folder, const char *path, int flags, mode_t mode) {
  char full[PATH_MAX];
  int mine = ours(folder, path, full);
  if (!mine) return syscall(SYS_openat, folder, path, flags, mode);
  pthread_mutex_lock(&lock);
  int fd = syscall(SYS_openat, folder, path, flags, mode), before = errno;
  uint64_t file;
  if (fd >= 0 && open_ours(fd, &file)) {
    note(OPENED, file, 0, full, strlen(full) + 1);
    if (flags & O_TRUNC) note(CUT, file, 0, "", 0);
  }
  pthread_mutex_unlock(&lock);
  errno = before;
  return fd;
}

#define MODE(flags, mode) \
  mode_t mode = 0; \
  if ((flags) & (O_CREAT | __O_TMPFILE)) { \
    va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); \
  }
int open(const char *path, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags, mode) return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags, mode) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags, mode) return opened(at, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static ssize_t wrote(int fd, const void *data, size_t size, off_t offset, int placed) {
  uint64_t file;
  int mine = open_ours(fd, &file);
  if (mine) pthread_mutex_lock(&lock);
  ssize_t done = placed ? syscall(SYS_pwrite64, fd, data, size, offset) : syscall(SYS_write, fd, data, size);
  if (mine) {
    int before = errno;
    if (done > 0) note(WROTE, file, placed ? offset : lseek(fd, 0, SEEK_CUR) - done, data, done);
    pthread_mutex_unlock(&lock);
    errno = before;
  }
  return done;
}
ssize_t write(int fd, const void *data, size_t size) { return wrote(fd, data, size, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return wrote(fd, data, size, offset, 1); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return wrote(fd, data, size, offset, 1); }
ssize_t writev(int fd, const struct iovec *parts, int count) {
  uint64_t file;
  if (!open_ours(fd, &file)) return syscall(SYS_writev, fd, parts, count);
  ssize_t total = 0;
  for (int i = 0; i < count; i++) {
    ssize_t done = wrote(fd, parts[i].iov_base, parts[i].iov_len, 0, 0);
    if (done < 0) return total ? total : done;
    total += done;
    if ((size_t)done < parts[i].iov_len) break;
  }
  return total;
}
/* Whoever copies inside the kernel is told to read and write instead, which is seen. */
ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t size, unsigned flags) {
  uint64_t file;
  if (open_ours(to, &file)) { errno = ENOSYS; return -1; }
  return syscall(SYS_copy_file_range, from, from_at, to, to_at, size, flags);
}
ssize_t sendfile64(int to, int from, off64_t *at, size_t size) {
  uint64_t file;
  if (open_ours(to, &file)) { errno = EINVAL; return -1; }
  return syscall(SYS_sendfile, to, from, at, size);
}
ssize_t sendfile(int to, int from, off_t *at, size_t size) { return sendfile64(to, from, at, size); }

static int cut(int fd, off_t size) {
  uint64_t file;
  int mine = open_ours(fd, &file);
  if (mine) pthread_mutex_lock(&lock);
  int failed = syscall(SYS_ftruncate, fd, size);
  if (mine) {
    if (!failed) note(CUT, file, size, "", 0);
    pthread_mutex_unlock(&lock);
  }
  return failed;
}
int ftruncate(int fd, off_t size) { return cut(fd, size); }
int ftruncate64(int fd, off64_t size) { return cut(fd, size); }

static int synced(int fd, long call) {
  uint64_t file;
  int mine = open_ours(fd, &file);
  if (mine) pthread_mutex_lock(&lock);
  int failed = syscall(call, fd);
  if (mine) {
    if (!failed) note(SYNCED, file, 0, "", 0);
    pthread_mutex_unlock(&lock);
  }
  return failed;
}
int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static int moved(int from_at, const char *from, int to_at, const char *to, uint32_t what, int flags) {
  char both[PATH_MAX * 2], second[PATH_MAX];
  int mine = ours(from_at, from, both) | ours(to_at, to, second);
  if (mine) pthread_mutex_lock(&lock);
  int failed = what == RENAMED ? syscall(SYS_renameat2, from_at, from, to_at, to, flags)
                               : syscall(SYS_linkat, from_at, from, to_at, to, flags);
  if (mine) {
    int before = errno;
    size_t size = strlen(both) + 1;
    strcpy(both + size, second);
    if (!failed) note(what, inode(second), 0, both, size + strlen(second) + 1);
    pthread_mutex_unlock(&lock);
    errno = before;
  }
  return failed;
}
int rename(const char *from, const char *to) { return moved(AT_FDCWD, from, AT_FDCWD, to, RENAMED, 0); }
int renameat(int at, const char *from, int to_at, const char *to) { return moved(at, from, to_at, to, RENAMED, 0); }
int renameat2(int at, const char *from, int to_at, const char *to, unsigned flags) {
  return moved(at, from, to_at, to, RENAMED, flags);
}
int link(const char *from, const char *to) { return moved(AT_FDCWD, from, AT_FDCWD, to, LINKED, 0); }
int linkat(int at, const char *from, int to_at, const char *to, int flags) {
  return moved(at, from, to_at, to, LINKED, flags);
}

static int named(int at, const char *path, uint32_t what, int flags, mode_t mode) {
  char full[PATH_MAX];
  int mine = ours(at, path, full);
  if (mine) pthread_mutex_lock(&lock);
  int failed = what == UNLINKED ? syscall(SYS_unlinkat, at, path, flags) : syscall(SYS_mkdirat, at, path, mode);
  if (mine) {
    int before = errno;
    if (!failed) note(what, what == UNLINKED ? 0 : inode(full), 0, full, strlen(full) + 1);
    pthread_mutex_unlock(&lock);
    errno = before;
  }
  return failed;
}
int unlink(const char *path) { return named(AT_FDCWD, path, UNLINKED, 0, 0); }
int unlinkat(int at, const char *path, int flags) { return named(at, path, UNLINKED, flags, 0); }
int rmdir(const char *path) { return named(AT_FDCWD, path, UNLINKED, AT_REMOVEDIR, 0); }
int mkdir(const char *path, mode_t mode) { return named(AT_FDCWD, path, MADE_FOLDER, 0, mode); }
int mkdirat(int at, const char *path, mode_t mode) { return named(at, path, MADE_FOLDER, 0, mode); }
