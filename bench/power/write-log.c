/*
 * Loaded with LD_PRELOAD into a process that writes a store: logs everything that the process does to the store's file, in the order in which
 * it does it, so that `cuts.ts` can build the file as a power cut would have left it. What the process writes to its standard output is
 * logged too: those are the acknowledgements, and they must have their place in the same order.
 *
 * The names of the store's file and of the log are in POWER_STORE and POWER_LOG. Each record is a `struct record` with the machine's own byte
 * order, then `length` bytes when it is the beginning of a write or an acknowledgement. A beginning is logged before the call is
 * made, an end after it has returned: so the log never claims more for the disk than was true. `sync_file_range` and `msync` are not followed: they
 * promise less than a sync, and so count as nothing.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum kind {
  WRITE = 1,
  WRITE_END = 2,
  SYNC = 3,
  SYNC_END = 4,
  TRUNCATE = 5,
  TRUNCATE_END = 6,
  ACKNOWLEDGED = 7,
  CREATED = 8,
  FOLDER_SYNC_END = 9,
  /* Something that this log cannot follow: the run proves nothing. */
  UNKNOWN_WAY = 10,
};

struct record {
  uint32_t kind;
  /* The call returns when its bytes are on the disk. */
  uint32_t is_durable;
  uint64_t operation;
  /* Of a write; the new size of a truncation. */
  int64_t offset;
  /* Of the bytes that follow; at the end of a write, how many were written. */
  uint64_t length;
};

enum role { NOTHING = 0, STORE = 1, DURABLE_STORE = 2, FOLDER = 3 };

#define MAX_FILES 65536

static char store_path[PATH_MAX];
static char folder_path[PATH_MAX];
static int log_file = -1;
static unsigned char roles[MAX_FILES];
static uint64_t operations = 0;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
  const char *store = getenv("POWER_STORE");
  const char *log = getenv("POWER_LOG");
  if (store == NULL || log == NULL) return;
  strncpy(store_path, store, PATH_MAX - 1);
  strncpy(folder_path, store, PATH_MAX - 1);
  char *last = strrchr(folder_path, '/');
  if (last != NULL) *last = '\0';
  /* Past the interposed functions, and in a process whose children must not write into the same log. */
  log_file = (int)syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  unsetenv("LD_PRELOAD");
}

static enum role role_of(int file) {
  return file >= 0 && file < MAX_FILES ? roles[file] : NOTHING;
}

static int is_store(int file) {
  return role_of(file) == STORE || role_of(file) == DURABLE_STORE;
}

/* The caller holds the lock. A log with a hole would be worse than no log. */
static void append(struct record record, const struct iovec *parts, int count) {
  struct iovec all[count + 1];
  all[0] = (struct iovec){&record, sizeof record};
  for (int i = 0; i < count; i += 1) all[i + 1] = parts[i];
  ssize_t wanted = sizeof record;
  for (int i = 0; i < count; i += 1) wanted += (ssize_t)parts[i].iov_len;
  if (syscall(SYS_writev, log_file, all, count + 1) != wanted) abort();
}

static uint64_t note(enum kind kind, int is_durable, int64_t offset, const struct iovec *parts, int count) {
  uint64_t length = 0;
  for (int i = 0; i < count; i += 1) length += parts[i].iov_len;
  int error = errno;
  pthread_mutex_lock(&lock);
  uint64_t operation = ++operations;
  append((struct record){kind, (uint32_t)is_durable, operation, offset, length}, parts, count);
  pthread_mutex_unlock(&lock);
  errno = error;
  return operation;
}

static void note_end(enum kind kind, uint64_t operation, int64_t result) {
  int error = errno;
  pthread_mutex_lock(&lock);
  append((struct record){kind, 0, operation, 0, result < 0 ? 0 : (uint64_t)result}, NULL, 0);
  pthread_mutex_unlock(&lock);
  errno = error;
}

static void opened(int file, const char *path, int flags, int is_new) {
  if (log_file < 0 || file < 0 || file >= MAX_FILES) return;
  if (strcmp(path, store_path) == 0) {
    roles[file] = (flags & (O_DSYNC | O_SYNC)) != 0 ? DURABLE_STORE : STORE;
    if (is_new) note(CREATED, 0, 0, NULL, 0);
  } else if (strcmp(path, folder_path) == 0) {
    roles[file] = FOLDER;
  } else {
    roles[file] = NOTHING;
  }
}

static int is_missing(const char *path) {
  struct stat found;
  return log_file >= 0 && strcmp(path, store_path) == 0 && stat(path, &found) != 0;
}

#define OPEN(name)                                                \
  int name(const char *path, int flags, ...) {                    \
    va_list rest;                                                 \
    va_start(rest, flags);                                        \
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                 \
    int is_new = is_missing(path);                                \
    int file = REAL(name)(path, flags, mode);                     \
    opened(file, path, flags, is_new);                            \
    return file;                                                  \
  }

OPEN(open)
OPEN(open64)

#define OPEN_AT(name)                                             \
  int name(int folder, const char *path, int flags, ...) {        \
    va_list rest;                                                 \
    va_start(rest, flags);                                        \
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(rest, mode_t) : 0; \
    va_end(rest);                                                 \
    int is_new = is_missing(path);                                \
    int file = REAL(name)(folder, path, flags, mode);             \
    opened(file, path, flags, is_new);                            \
    return file;                                                  \
  }

OPEN_AT(openat)
OPEN_AT(openat64)

int close(int file) {
  if (file >= 0 && file < MAX_FILES) roles[file] = NOTHING;
  return REAL(close)(file);
}

/* The bytes and where they go, before `call` makes them real. */
#define WRITE_CALL(file, at, parts, count, call)                                                   \
  uint64_t operation = note(WRITE, role_of(file) == DURABLE_STORE, (int64_t)(at), parts, count);   \
  ssize_t result = call;                                                                           \
  note_end(WRITE_END, operation, result);                                                          \
  return result

ssize_t pwrite(int file, const void *bytes, size_t length, off_t offset) {
  if (!is_store(file)) return REAL(pwrite)(file, bytes, length, offset);
  struct iovec part = {(void *)bytes, length};
  WRITE_CALL(file, offset, &part, 1, REAL(pwrite)(file, bytes, length, offset));
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off64_t offset) {
  if (!is_store(file)) return REAL(pwrite64)(file, bytes, length, offset);
  struct iovec part = {(void *)bytes, length};
  WRITE_CALL(file, offset, &part, 1, REAL(pwrite64)(file, bytes, length, offset));
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t offset) {
  if (!is_store(file)) return REAL(pwritev)(file, parts, count, offset);
  WRITE_CALL(file, offset, parts, count, REAL(pwritev)(file, parts, count, offset));
}

ssize_t pwritev64(int file, const struct iovec *parts, int count, off64_t offset) {
  if (!is_store(file)) return REAL(pwritev64)(file, parts, count, offset);
  WRITE_CALL(file, offset, parts, count, REAL(pwritev64)(file, parts, count, offset));
}

ssize_t write(int file, const void *bytes, size_t length) {
  struct iovec part = {(void *)bytes, length};
  if (file == STDOUT_FILENO && log_file >= 0) note(ACKNOWLEDGED, 0, 0, &part, 1);
  if (!is_store(file)) return REAL(write)(file, bytes, length);
  WRITE_CALL(file, lseek(file, 0, SEEK_CUR), &part, 1, REAL(write)(file, bytes, length));
}

ssize_t writev(int file, const struct iovec *parts, int count) {
  if (file == STDOUT_FILENO && log_file >= 0) note(ACKNOWLEDGED, 0, 0, parts, count);
  if (!is_store(file)) return REAL(writev)(file, parts, count);
  WRITE_CALL(file, lseek(file, 0, SEEK_CUR), parts, count, REAL(writev)(file, parts, count));
}

#define TRUNCATE_CALL(name, type)                                    \
  int name(int file, type size) {                                    \
    if (!is_store(file)) return REAL(name)(file, size);              \
    uint64_t operation = note(TRUNCATE, 0, (int64_t)size, NULL, 0);  \
    int result = REAL(name)(file, size);                             \
    note_end(TRUNCATE_END, operation, result);                       \
    return result;                                                   \
  }

TRUNCATE_CALL(ftruncate, off_t)
TRUNCATE_CALL(ftruncate64, off64_t)

#define SYNC_CALL(name)                                                                \
  int name(int file) {                                                                 \
    enum role role = role_of(file);                                                    \
    uint64_t operation = is_store(file) ? note(SYNC, 0, 0, NULL, 0) : 0;               \
    int result = REAL(name)(file);                                                     \
    if (result == 0 && role == FOLDER) note(FOLDER_SYNC_END, 0, 0, NULL, 0);           \
    if (result == 0 && operation != 0) note_end(SYNC_END, operation, 0);               \
    return result;                                                                     \
  }

SYNC_CALL(fsync)
SYNC_CALL(fdatasync)

static void *mapped(void *address, int file, int protection, int flags) {
  int is_shared = (flags & MAP_TYPE) != MAP_PRIVATE;
  if (is_store(file) && is_shared && (protection & PROT_WRITE) != 0) note(UNKNOWN_WAY, 0, 0, NULL, 0);
  return address;
}

void *mmap(void *hint, size_t length, int protection, int flags, int file, off_t offset) {
  return mapped(REAL(mmap)(hint, length, protection, flags, file, offset), file, protection, flags);
}

void *mmap64(void *hint, size_t length, int protection, int flags, int file, off64_t offset) {
  return mapped(REAL(mmap64)(hint, length, protection, flags, file, offset), file, protection, flags);
}

int fallocate(int file, int mode, off_t offset, off_t length) {
  if (is_store(file)) note(UNKNOWN_WAY, 0, 0, NULL, 0);
  return REAL(fallocate)(file, mode, offset, length);
}
