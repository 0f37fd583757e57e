// files: looks at the file system in watm_init_v1 and reports on standard error what it saw. The
// worker then sends the content of /data/greeting.txt to its source side and passes through. The
// lines, in order ("errno N" for a failure):
//   greeting: TEXT          the first line of /data/greeting.txt
//   entries: a,b            the names in /data, sorted
//   stat: file 6            type (file, dir, other) and size of /data/greeting.txt
//   escape: errno N         /data/../secret, which must not open ("opened" if it did)
//   escape at: errno N      ../secret relative to the open directory /data
//   absolute at: errno N    /etc/passwd relative to it
//   passwd: errno N         /etc/passwd
//   create: errno N         a new file in /data ("opened", then removed, where that is allowed)
//   config write: errno N   /conf/watm.cfg for writing
//   opened: N errno E       how many of 600 descriptors on greeting.txt it got, and what stopped it
//                           (0: nothing)
// The worker opens as many again and reports two more lines. "reused: none", or "reused: N" if one
// of its descriptors has the number of a file in watm_init_v1. "clash: none", or "clash: N" and
// -EIO if a file that is open now has that number.
#include "library/module.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define GREETING "/data/greeting.txt"
#define FILES_MAX 600
#define ENTRIES_MAX 64

static char greeting[1024];
static size_t greeting_length;
static int earlier[FILES_MAX]; // the numbers that files had in watm_init_v1
static int earlier_count;

static void read_greeting(void) {
    FILE *file = fopen(GREETING, "r");
    if (file == NULL) {
        fprintf(stderr, "greeting: errno %d\n", errno);
        return;
    }
    greeting_length = fread(greeting, 1, sizeof greeting, file);
    fclose(file);
    fprintf(stderr, "greeting: %.*s\n", (int)strcspn(greeting, "\r\n"), greeting);
}

static int compare(const void *left, const void *right) { return strcmp(*(char *const *)left, *(char *const *)right); }

static void list_directory(void) {
    DIR *directory = opendir("/data");
    if (directory == NULL) {
        fprintf(stderr, "entries: errno %d\n", errno);
        return;
    }
    char *names[ENTRIES_MAX];
    size_t count = 0;
    struct dirent *entry;
    while (count < ENTRIES_MAX && (entry = readdir(directory)) != NULL)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) names[count++] = strdup(entry->d_name);
    closedir(directory);
    qsort(names, count, sizeof names[0], compare);
    fprintf(stderr, "entries: ");
    for (size_t i = 0; i < count; i++) {
        fprintf(stderr, "%s%s", i > 0 ? "," : "", names[i]);
        free(names[i]);
    }
    fprintf(stderr, "\n");
}

static void look_at_greeting(void) {
    struct stat status;
    if (stat(GREETING, &status) != 0) {
        fprintf(stderr, "stat: errno %d\n", errno);
        return;
    }
    const char *type = S_ISREG(status.st_mode) ? "file" : S_ISDIR(status.st_mode) ? "dir" : "other";
    fprintf(stderr, "stat: %s %lld\n", type, (long long)status.st_size);
}

static void report_open(const char *what, int fd) {
    if (fd < 0) {
        fprintf(stderr, "%s: errno %d\n", what, errno);
    } else {
        fprintf(stderr, "%s: opened\n", what);
        close(fd);
    }
}

static void try_forbidden(void) {
    report_open("escape", open("/data/../secret", O_RDONLY));
    int directory = open("/data", O_RDONLY | O_DIRECTORY);
    report_open("escape at", openat(directory, "../secret", O_RDONLY));
    report_open("absolute at", openat(directory, "/etc/passwd", O_RDONLY));
    if (directory >= 0) close(directory);
    report_open("passwd", open("/etc/passwd", O_RDONLY));
    report_open("create", open("/data/created.txt", O_WRONLY | O_CREAT, 0600));
    unlink("/data/created.txt");
    report_open("config write", open("/conf/watm.cfg", O_WRONLY));
}

// Opens the greeting until that fails, closes everything, and returns the number of descriptors.
// errno is 0 if nothing failed.
static int open_many(int fds[FILES_MAX]) {
    int count = 0;
    errno = 0;
    while (count < FILES_MAX && (fds[count] = open(GREETING, O_RDONLY)) >= 0) count++;
    const int error = count < FILES_MAX ? errno : 0;
    for (int i = 0; i < count; i++) close(fds[i]);
    errno = error;
    return count;
}

int32_t guest_init(void) {
    read_greeting();
    list_directory();
    look_at_greeting();
    try_forbidden();
    earlier_count = open_many(earlier);
    fprintf(stderr, "opened: %d errno %d\n", earlier_count, errno);
    return 0;
}

// Logs the first number that is one of the module's descriptors. Returns whether there was one.
static bool report_shared(const char *what, const int fds[], int count) {
    for (int i = 0; i < count; i++)
        if (fds[i] == module.source || fds[i] == module.remote || fds[i] == module.control) {
            fprintf(stderr, "%s: %d\n", what, fds[i]);
            return true;
        }
    fprintf(stderr, "%s: none\n", what);
    return false;
}

int32_t guest_started(void) {
    int now[FILES_MAX];
    const int count = open_many(now);
    report_shared("reused", earlier, earlier_count);
    if (report_shared("clash", now, count)) return failed(__WASI_ERRNO_IO);
    return greeting_length > 0 ? write_spinning(module.source, greeting, greeting_length) : 0;
}
