// Tests of the framed example: its greeting, its frames, and streams that were cut. `encode` and
// `decode` see every split of the bytes that hosts and networks can make.
#include "cases.h"

#include <errno.h>
#include <string.h>

#include "../watm.h"

int32_t watm_init_v1(void);
int32_t watm_ctrlpipe_v1(int32_t fd);
int32_t watm_start_v1(void);
int32_t watm_dial_v1(int32_t internal);
int32_t watm_accept_v1(int32_t internal);

#define ACCEPTED_GREETING "framed 1, accepted\n"

static void dial(void) {
    CHECK_EQUAL(watm_init_v1(), 0);
    CHECK_EQUAL(watm_dial_v1(INTERNAL), NETWORK);
    CHECK_EQUAL(watm_ctrlpipe_v1(PIPE), 0);
}

// Sends `length` bytes of a stream that a module has written to a second module, and checks what
// that one returns and delivers.
static void a_cut_is_never_an_end(void) {
    const char stream[] = ACCEPTED_GREETING "\0\3one\0\3two\0\0";
    const size_t greeting = strlen(ACCEPTED_GREETING), whole = sizeof stream - 1;
    for (size_t length = greeting; length <= whole; length++) {
        host_reset();
        pid_t child = fork();
        if (child != 0) {
            int status;
            waitpid(child, &status, 0);
            CHECK_EQUAL(status, 0);
            continue;
        }
        host_send(NETWORK, stream, length);
        host.fds[NETWORK].ends = host.fds[INTERNAL].ends = true;
        dial();
        CHECK_EQUAL(watm_start_v1(), length == whole ? 0 : -EPROTO);
        CHECK_EQUAL(host.fds[INTERNAL].ended, length == whole);
        CHECK_EQUAL(host.fds[INTERNAL].output_length,
                    length >= greeting + 10 ? 6 : length >= greeting + 5 ? 3 : 0);
        exit(0);
    }
}

static void a_wrong_greeting_is_refused(void) {
    host_send(NETWORK, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
    CHECK_EQUAL(watm_dial_v1(INTERNAL), -EPROTO);
    CHECK_EQUAL(host.log_writes, 1);
    host_reset();
    host.accepted = NETWORK;
    host_send(NETWORK, "GET / HTTP/1.1\r\n\r\n", 18);
    CHECK_EQUAL(watm_accept_v1(INTERNAL), -EPROTO);
    CHECK_EQUAL(host.fds[NETWORK].output_length, 0);
}

static void a_frame_that_is_too_large_is_refused(void) {
    host_send(NETWORK, ACCEPTED_GREETING "\xff\xff", strlen(ACCEPTED_GREETING) + 2);
    dial();
    CHECK_EQUAL(watm_start_v1(), -EPROTO);
}

static void bytes_after_the_last_frame_are_refused(void) {
    host_send(NETWORK, ACCEPTED_GREETING "\0\0x", strlen(ACCEPTED_GREETING) + 3);
    dial();
    CHECK_EQUAL(watm_start_v1(), -EPROTO);
}

// What one module writes, another one reads, whatever the sizes of reads and writes are.
static void every_split_of_the_bytes_arrives_whole(void) {
    static uint8_t bytes[50000], wire[60000];
    uint32_t state = 7;
    for (size_t i = 0; i < sizeof bytes; i++) {
        state = state * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(state >> 24);
    }
    for (size_t round = 0; round < 60; round++) {
        int wires[2];
        CHECK(pipe(wires) == 0);
        size_t length = round * 800 + round % 7, limit = 1 + round * round * 5;
        for (int reader = 0; reader < 2; reader++) {
            pid_t child = fork();
            if (child == 0) {
                host_reset();
                host.fds[NETWORK].read_limit = host.fds[INTERNAL].read_limit = limit;
                host.fds[NETWORK].room = host.fds[INTERNAL].room = limit / 2 + 1;
                host.fds[NETWORK].refill = host.fds[INTERNAL].refill = limit / 3 + 1;
                host.fds[NETWORK].ends = host.fds[INTERNAL].ends = true;
                host_send(NETWORK, ACCEPTED_GREETING, strlen(ACCEPTED_GREETING));
                if (reader) {
                    size_t count = 0;
                    for (ssize_t got; (got = read(wires[0], wire + count, 4096)) > 0;)
                        count += (size_t)got;
                    host_send(NETWORK, wire, count);
                    dial();
                    CHECK_EQUAL(watm_start_v1(), 0);
                    CHECK_EQUAL(host.fds[INTERNAL].output_length, length);
                    CHECK(memcmp(host.fds[INTERNAL].output, bytes, length) == 0);
                } else {
                    host_send(NETWORK, "\0\0", 2);
                    host_send(INTERNAL, bytes, length);
                    dial();
                    CHECK_EQUAL(watm_start_v1(), 0);
                    const struct descriptor *network = &host.fds[NETWORK];
                    const size_t greeting = strlen("framed 1, dialled\n");
                    size_t count = network->output_length - greeting;
                    CHECK(write(wires[1], network->output + greeting, count) == (ssize_t)count);
                }
                exit(0);
            }
            // The writer ends before the reader begins: a pipe holds all of it.
            int status;
            waitpid(child, &status, 0);
            CHECK_EQUAL(status, 0);
            if (!reader) close(wires[1]);
        }
    }
}

int main(void) {
    const struct test_case cases[] = {
        CASE(a_cut_is_never_an_end),
        CASE(a_wrong_greeting_is_refused),
        CASE(a_frame_that_is_too_large_is_refused),
        CASE(bytes_after_the_last_frame_are_refused),
        CASE(every_split_of_the_bytes_arrives_whole),
    };
    return run_cases(cases, sizeof cases / sizeof cases[0]);
}
