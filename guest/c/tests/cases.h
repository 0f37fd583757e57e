// Runs test cases, each in a process of its own: the library keeps one connection for the life of
// an instance, and here a process is that instance.
#ifndef CASES_H
#define CASES_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "host.h"

#define CHECK(condition) \
    do { \
        if (!(condition)) { \
            printf("    %s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
            exit(1); \
        } \
    } while (0)

#define CHECK_EQUAL(left, right) \
    do { \
        long long found = (long long)(left), expected = (long long)(right); \
        if (found != expected) { \
            printf("    %s:%d: %s is %lld, not %lld\n", __FILE__, __LINE__, #left, found, \
                   expected); \
            exit(1); \
        } \
    } while (0)

struct test_case {
    const char *name; // a sentence about what holds
    void (*run)(void);
};

#define CASE(name) {#name, name}

static inline int run_cases(const struct test_case *cases, size_t count) {
    int failures = 0;
    setvbuf(stdout, NULL, _IONBF, 0);
    for (size_t i = 0; i < count; i++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(60);
            host_reset();
            cases[i].run();
            exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        printf("%s %s\n", status == 0 ? "ok    " : "FAILED", cases[i].name);
        failures += status != 0;
    }
    return failures == 0 ? 0 : 1;
}

#endif
