// A scripted host for tests of watm.c: descriptors whose bytes, limits and errors a test sets, and
// a record of what the module did with them.
#ifndef HOST_H
#define HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { INTERNAL = 3, NETWORK, ACCEPTED, PIPE, CONFIG, DESCRIPTORS };

#define UNLIMITED SIZE_MAX

struct descriptor {
    // What the module reads: bytes, then an error or the end, if one of them is set. With neither,
    // there is nothing to read for now.
    const uint8_t *input;
    size_t input_length;
    size_t read_limit; // the most that one read returns
    bool ends;
    int read_error;

    // What the module has written.
    uint8_t output[1 << 21];
    size_t output_length;
    size_t write_limit; // the most that one write takes
    size_t room;        // how much is taken before writes are refused
    size_t refill;      // the room that there is after the module has waited for it
    int write_error;
    bool ended; // by sock_shutdown
    int shutdown_error;

    bool nonblocking;
    bool announced;         // a poll for writing that does not wait has named it
    unsigned empty_writes;  // how many writes take nothing, without an error
    unsigned reads, writes;
};

struct host {
    struct descriptor fds[DESCRIPTORS];
    unsigned polls; // but for those that announce polls for writing, and for sleeps
    unsigned polls_for_writing;
    unsigned empty_polls; // how many polls return no event
    unsigned sleeps;      // polls for the clock alone, 1 ms
    unsigned allocations;
    int open_error;  // of the configuration: ENOENT at first
    bool interrupts; // every other call fails with EINTR

    // What the imports return, and what water_dial got.
    int32_t dialled_fixed, dialled, accepted;
    char network[64], address[64];

    char log[2048];
    unsigned log_writes;

    // Called when the module sleeps and nothing is ready. Changes something and returns true, or
    // returns false: then the module would sleep forever, and the test fails.
    bool (*idle)(unsigned step);
    unsigned steps;
};
extern struct host host;

void host_reset(void);

// Appends to what the module reads from a descriptor.
void host_send(int fd, const void *bytes, size_t length);

#endif
