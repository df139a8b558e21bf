/* Sets the wall clock of a process off by as many nanoseconds as the 8 bytes of the file CLOCK_OFF say,
   which may change while it runs. The steady clocks go on; so does what SQLite's own functions ask,
   gettimeofday, by which the checker's notes are dated.

   cc -shared -fPIC -O1 -o clock.so clock.c; LD_PRELOAD=clock.so PROGRAM */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *off_ns;

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("CLOCK_OFF");
  int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  void *found = fd < 0 ? MAP_FAILED : mmap(0, sizeof *off_ns, PROT_READ, MAP_SHARED, fd, 0);
  if (fd >= 0) close(fd);
  if (found != MAP_FAILED) off_ns = found;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  int failed = syscall(SYS_clock_gettime, clock, now);
  if (failed || !off_ns || (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE)) return failed;
  int64_t all_ns = now->tv_sec * 1000000000ll + now->tv_nsec + *off_ns;
  now->tv_sec = all_ns / 1000000000;
  now->tv_nsec = all_ns % 1000000000;
  return 0;
}

time_t time(time_t *stored) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  if (stored) *stored = now.tv_sec;
  return now.tv_sec;
}
