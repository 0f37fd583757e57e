// Tests of the transport on this machine, without WebAssembly: the module runs against the scripted
// host of the library (watm/tests/host.h).
#include "cases.h"

#include <errno.h>
#include <string.h>

#include "watm.h"

int32_t watm_init_v1(void);
int32_t watm_ctrlpipe_v1(int32_t fd);
int32_t watm_dial_v1(int32_t internal);
int32_t watm_accept_v1(int32_t internal);
int32_t watm_start_v1(void);

// Gives the module a configuration, as --config does.
static void configure(const char *key) {
    host.open_error = 0;
    host_send(CONFIG, key, strlen(key));
    host.fds[CONFIG].ends = true;
}

// What one module sends on the network, the other one gets from it: an instance serves one
// connection, so that each end is a process of its own.
static void pass(bool dialler_sends, const uint8_t *bytes, size_t length, size_t piece) {
    int wires[2];
    CHECK(pipe(wires) == 0);
    for (int receives = 0; receives < 2; receives++) {
        pid_t child = fork();
        if (child == 0) {
            bool dials = dialler_sends != (receives != 0);
            int network = dials ? NETWORK : ACCEPTED;
            host_reset();
            configure("a key");
            for (int fd = INTERNAL; fd <= ACCEPTED; fd++) {
                host.fds[fd].read_limit = host.fds[fd].write_limit = piece;
                host.fds[fd].ends = true;
            }
            if (receives) {
                static uint8_t wire[60000];
                size_t count = 0;
                for (ssize_t got; (got = read(wires[0], wire + count, 4096)) > 0;)
                    count += (size_t)got;
                host_send(network, wire, count);
            } else {
                host_send(INTERNAL, bytes, length);
            }
            CHECK_EQUAL(watm_init_v1(), 0);
            int32_t fd = dials ? watm_dial_v1(INTERNAL) : watm_accept_v1(INTERNAL);
            CHECK_EQUAL(fd, network);
            CHECK_EQUAL(watm_ctrlpipe_v1(PIPE), 0);
            CHECK_EQUAL(watm_start_v1(), 0);
            if (receives) {
                CHECK_EQUAL(host.fds[INTERNAL].output_length, length);
                CHECK(memcmp(host.fds[INTERNAL].output, bytes, length) == 0);
            } else {
                size_t count = host.fds[network].output_length;
                CHECK(write(wires[1], host.fds[network].output, count) == (ssize_t)count);
            }
            exit(0);
        }
        // The sender ends before the receiver begins: a pipe holds all of it.
        int status;
        waitpid(child, &status, 0);
        CHECK_EQUAL(status, 0);
        if (!receives) close(wires[1]);
    }
    close(wires[0]);
}

static void what_is_sent_arrives_in_both_directions(void) {
    static uint8_t bytes[50000];
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)(i * 7);
    for (int direction = 0; direction < 2; direction++) {
        pass(direction == 0, bytes, sizeof bytes, UNLIMITED);
        pass(direction == 0, bytes, 5000, 1);
    }
}

static void the_wire_has_the_bytes_combined_with_the_key(void) {
    configure("\x01\x02");
    host_send(INTERNAL, "\0\0\0", 3);
    host.fds[INTERNAL].ends = host.fds[NETWORK].ends = true;
    CHECK_EQUAL(watm_init_v1(), 0);
    CHECK_EQUAL(watm_dial_v1(INTERNAL), NETWORK);
    CHECK_EQUAL(watm_ctrlpipe_v1(PIPE), 0);
    CHECK_EQUAL(watm_start_v1(), 0);
    CHECK_EQUAL(host.fds[NETWORK].output_length, 3);
    CHECK(memcmp(host.fds[NETWORK].output, "\x01\x02\x01", 3) == 0);
}

static void there_must_be_a_key(void) { CHECK_EQUAL(watm_init_v1(), -EINVAL); }

int main(void) {
    const struct test_case cases[] = {
        CASE(what_is_sent_arrives_in_both_directions),
        CASE(the_wire_has_the_bytes_combined_with_the_key),
        CASE(there_must_be_a_key),
    };
    return run_cases(cases, sizeof cases / sizeof cases[0]);
}
