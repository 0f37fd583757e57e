// Tests of watm.c: what reaches both sides and what the module returns, on hosts of all kinds.
#include "cases.h"

#include <errno.h>
#include <string.h>
#include <wasi/api.h>

#include "../watm.h"

int32_t watm_init_v1(void);
int32_t watm_ctrlpipe_v1(int32_t fd);
int32_t watm_start_v1(void);

// ---- The transport of the tests: what each case makes of it ----

static int32_t (*handshake)(struct watm_stream *, struct watm_connection *);
static const uint8_t *config = (const uint8_t *)"unset";
static size_t config_length;

static int32_t init(const uint8_t *bytes, size_t length) {
    config = bytes;
    config_length = length;
    return 0;
}

static int32_t begin(struct watm_stream *network, struct watm_connection *connection) {
    return handshake != NULL ? handshake(network, connection) : 0;
}

static int32_t address(const char **network, const char **name) {
    *network = "tcp4";
    *name = "example.org:443";
    return 0;
}

const struct watm_transport watm_transport = {
    .init = init,
    .dial = begin,
    .address = address,
};
WATM_DIALER;
WATM_FIXED_DIALER;
WATM_LISTENER;
WATM_RELAY;

// Frames with a 1-byte length, one in each call. A length of 255 is an error.
static int32_t add_frame(void *state, const uint8_t *input, size_t length,
                         struct watm_output *output) {
    (void)state;
    if (length > 200) length = 200;
    uint8_t *frame = watm_output(output, 300);
    if (frame == NULL) return -ENOMEM;
    frame[0] = (uint8_t)length;
    memcpy(frame + 1, input, length);
    watm_output_shorten(output, 300 - 1 - length);
    return (int32_t)length;
}

static int32_t add_frame_after_announcement(void *state, const uint8_t *input, size_t length,
                                            struct watm_output *output) {
    CHECK(host.fds[NETWORK].announced && host.fds[INTERNAL].announced);
    return add_frame(state, input, length, output);
}

static int32_t take_frame(void *state, const uint8_t *input, size_t length,
                          struct watm_output *output) {
    (void)state;
    if (input[0] == 255) return watm_output_copy(output, "forged", 6) < 0 ? -ENOMEM : -EPROTO;
    if (length < (size_t)input[0] + 1) return 0;
    if (watm_output_copy(output, input + 1, input[0]) < 0) return -ENOMEM;
    return input[0] + 1;
}

static int32_t say_goodbye(void *state, struct watm_output *output) {
    (void)state;
    return watm_output_copy(output, "\3bye", 4);
}

static int32_t frames(struct watm_stream *network, struct watm_connection *connection) {
    (void)network;
    connection->encode = (struct watm_codec){.update = add_frame, .finish = say_goodbye};
    connection->decode = (struct watm_codec){.update = take_frame};
    return 0;
}

// ---- Helpers ----

static void send(int fd, const char *text) { host_send(fd, text, strlen(text)); }

static bool has_written(int fd, const void *bytes, size_t length) {
    const struct descriptor *descriptor = &host.fds[fd];
    return descriptor->output_length == length && memcmp(descriptor->output, bytes, length) == 0;
}

static bool has_said(int fd, const char *text) { return has_written(fd, text, strlen(text)); }

static void dial(void) {
    CHECK_EQUAL(watm_init_v1(), 0);
    CHECK_EQUAL(watm_dial_v1(INTERNAL), NETWORK);
    CHECK_EQUAL(watm_ctrlpipe_v1(PIPE), 0);
}

static int32_t run(void) {
    dial();
    return watm_start_v1();
}

static bool cancel(unsigned step) {
    host_send(PIPE, "", 1);
    return step == 0;
}

static const uint8_t *noise(size_t length) {
    uint8_t *bytes = malloc(length);
    uint32_t state = 1;
    for (size_t i = 0; i < length; i++) {
        state = state * 1664525 + 1013904223;
        bytes[i] = (uint8_t)(state >> 24);
    }
    return bytes;
}

// ---- Moving bytes ----

static void bytes_pass_unchanged_without_codecs(void) {
    send(INTERNAL, "request");
    send(NETWORK, "response");
    host.fds[INTERNAL].ends = host.fds[NETWORK].ends = true;
    CHECK_EQUAL(run(), 0);
    CHECK(has_said(NETWORK, "request") && has_said(INTERNAL, "response"));
    CHECK(host.fds[INTERNAL].ended && host.fds[NETWORK].ended);
    CHECK_EQUAL(host.polls_for_writing, 0);
}

static int32_t write_and_frame(struct watm_stream *network, struct watm_connection *connection) {
    CHECK(!host.fds[NETWORK].announced);
    connection->encode.update = add_frame_after_announcement;
    return watm_write(network, "hello", 5);
}

static void polls_for_writing_are_announced_before_the_first_write(void) {
    handshake = write_and_frame;
    send(INTERNAL, "request");
    host.fds[INTERNAL].ends = host.fds[NETWORK].ends = true;
    CHECK_EQUAL(run(), 0);
    CHECK(has_said(NETWORK, "hello\7request"));
}

static bool three_messages(unsigned step) {
    if (step == 3) return cancel(0);
    send(step == 1 ? INTERNAL : NETWORK, "message");
    return step < 3;
}

static void a_wake_up_costs_one_poll_one_read_and_one_write(void) {
    host.idle = three_messages;
    CHECK_EQUAL(run(), -ECANCELED);
    CHECK_EQUAL(host.polls, 3 + 1);
    CHECK_EQUAL(host.fds[INTERNAL].reads, 1);
    CHECK_EQUAL(host.fds[INTERNAL].writes, 2);
    CHECK_EQUAL(host.fds[NETWORK].reads, 2);
    CHECK_EQUAL(host.fds[NETWORK].writes, 1);
    CHECK_EQUAL(host.fds[PIPE].reads, 1);
}

static void a_host_that_refuses_and_shortens_writes_loses_nothing(void) {
    const size_t length = 300000;
    const uint8_t *bytes = noise(length);
    for (int fd = INTERNAL; fd <= NETWORK; fd++) {
        host_send(fd, bytes, length);
        host.fds[fd].ends = true;
        host.fds[fd].write_limit = 1000;
        host.fds[fd].room = 1500;
        host.fds[fd].refill = 700;
    }
    CHECK_EQUAL(run(), 0);
    CHECK(has_written(NETWORK, bytes, length) && has_written(INTERNAL, bytes, length));
    CHECK(host.polls_for_writing > 0);
}

static void a_side_is_not_read_while_what_it_sent_waits(void) {
    host_send(INTERNAL, noise(1000000), 1000000);
    host.fds[NETWORK].room = 10;
    host.idle = cancel;
    CHECK_EQUAL(run(), -ECANCELED);
    CHECK_EQUAL(host.fds[INTERNAL].reads, 1);
    CHECK_EQUAL(host.fds[NETWORK].writes, 1);
    CHECK_EQUAL(host.fds[NETWORK].output_length, 10);
}

static bool network_sends_then_cancel(unsigned step) {
    if (step < 50) send(NETWORK, "x");
    else if (step == 50) cancel(0);
    return step <= 50;
}

static void a_full_side_does_not_stop_the_other_direction(void) {
    send(INTERNAL, "stuck");
    host.fds[NETWORK].room = 0;
    host.idle = network_sends_then_cancel;
    CHECK_EQUAL(run(), -ECANCELED);
    CHECK_EQUAL(host.fds[INTERNAL].output_length, 50);
    CHECK_EQUAL(host.fds[NETWORK].writes, 1);
}

static void one_byte_at_a_time_makes_the_same_frames(void) {
    handshake = frames;
    host_send(NETWORK, "\5hello\0\6 world", 14);
    send(INTERNAL, "hi");
    for (int fd = INTERNAL; fd <= NETWORK; fd++) {
        host.fds[fd].read_limit = host.fds[fd].write_limit = 1;
        host.fds[fd].ends = true;
    }
    CHECK_EQUAL(run(), 0);
    CHECK(has_said(INTERNAL, "hello world"));
    CHECK(has_said(NETWORK, "\1h\1i\3bye"));
}

static void many_frames_in_one_read_leave_in_one_write(void) {
    handshake = frames;
    for (int i = 0; i < 1000; i++) send(NETWORK, "\5hello");
    host.idle = cancel;
    CHECK_EQUAL(run(), -ECANCELED);
    CHECK_EQUAL(host.fds[INTERNAL].output_length, 5000);
    CHECK_EQUAL(host.fds[INTERNAL].writes, 1);
}

static void interrupted_calls_are_made_again(void) {
    host.interrupts = true;
    send(INTERNAL, "request");
    host.fds[INTERNAL].ends = host.fds[NETWORK].ends = true;
    CHECK_EQUAL(run(), 0);
    CHECK(has_said(NETWORK, "request"));
}

static bool messages_forever(unsigned step) {
    static unsigned warm;
    if (step == 10) warm = host.allocations;
    if (step == 1000) {
        CHECK_EQUAL(host.allocations, warm);
        return cancel(0);
    }
    send(NETWORK, "\5hel"); // a frame in two pieces
    send(INTERNAL, "message");
    send(NETWORK, "lo\5hello");
    host.fds[NETWORK].room = 3;
    return true;
}

static void nothing_is_allocated_for_messages(void) {
    handshake = frames;
    host.fds[NETWORK].refill = 3;
    host.fds[INTERNAL].read_limit = 4;
    host.idle = messages_forever;
    CHECK_EQUAL(run(), -ECANCELED);
}

static int32_t need_everything(void *state, const uint8_t *input, size_t length,
                               struct watm_output *output) {
    size_t needed = *(size_t *)state;
    if (length < needed) return 0;
    return watm_output_copy(output, input, needed) < 0 ? -ENOMEM : (int32_t)needed;
}

static size_t needed;

static int32_t large_frames(struct watm_stream *network, struct watm_connection *connection) {
    (void)network;
    connection->encode = (struct watm_codec){.update = need_everything, .state = &needed};
    return 0;
}

static void a_frame_larger_than_a_piece_is_collected(void) {
    needed = 200000;
    handshake = large_frames;
    const uint8_t *bytes = noise(1000000);
    host_send(INTERNAL, bytes, 1000000);
    host.fds[INTERNAL].read_limit = 4000;
    host.fds[INTERNAL].ends = host.fds[NETWORK].ends = true;
    CHECK_EQUAL(run(), 0);
    CHECK(has_written(NETWORK, bytes, 1000000));
}

static void what_a_codec_leaves_is_bounded(void) {
    needed = WATM_INPUT_MAX * 2;
    handshake = large_frames;
    host_send(INTERNAL, noise(WATM_INPUT_MAX * 2), WATM_INPUT_MAX * 2);
    CHECK_EQUAL(run(), -EMSGSIZE);
}

// ---- How a connection ends ----

static bool answer_after_the_end(unsigned step) {
    CHECK(host.fds[NETWORK].ended && !host.fds[INTERNAL].ended);
    send(NETWORK, "late");
    host.fds[NETWORK].ends = step == 2;
    return step <= 2;
}

static void the_other_direction_goes_on_after_an_end(void) {
    handshake = frames;
    send(INTERNAL, "all");
    host.fds[INTERNAL].ends = true;
    host_send(NETWORK, "\x0c", 1); // 12 bytes, "latelatelate"
    host.idle = answer_after_the_end;
    CHECK_EQUAL(run(), 0);
    CHECK(has_said(NETWORK, "\3all\3bye"));
    CHECK(has_said(INTERNAL, "latelatelate"));
    CHECK(host.fds[INTERNAL].ended);
}

static void the_end_follows_the_bytes_that_were_refused(void) {
    send(INTERNAL, "0123456789");
    host.fds[INTERNAL].ends = host.fds[NETWORK].ends = true;
    host.fds[NETWORK].room = 0;
    host.fds[NETWORK].refill = 1;
    CHECK_EQUAL(run(), 0);
    CHECK(has_said(NETWORK, "0123456789"));
    CHECK(host.fds[NETWORK].ended);
}

static void an_end_that_nobody_hears_is_no_error(void) {
    host.fds[INTERNAL].ends = host.fds[NETWORK].ends = true;
    host.fds[NETWORK].shutdown_error = ENOTCONN;
    CHECK_EQUAL(run(), 0);
}

static void a_reset_is_reported_after_the_bytes_before_it(void) {
    send(NETWORK, "last");
    host.fds[NETWORK].read_error = ECONNRESET;
    CHECK_EQUAL(run(), -ECONNRESET);
    CHECK(has_said(INTERNAL, "last"));
    CHECK(!host.fds[INTERNAL].ended);
}

static bool last_words(unsigned step) {
    send(NETWORK, "words");
    host.fds[NETWORK].ends = true;
    return step == 0;
}

static void last_words_arrive_after_a_failed_write(void) {
    send(INTERNAL, "request");
    send(NETWORK, "last ");
    host.fds[NETWORK].write_error = EPIPE;
    host.fds[INTERNAL].room = 0;
    host.fds[INTERNAL].refill = 1;
    host.idle = last_words;
    CHECK_EQUAL(run(), -EPIPE);
    CHECK(has_said(INTERNAL, "last words") && host.fds[INTERNAL].ended);
    CHECK_EQUAL(host.fds[INTERNAL].reads, 1);
    CHECK_EQUAL(host.fds[NETWORK].writes, 1);
}

static void control_ends_a_connection_whose_write_has_failed(void) {
    send(INTERNAL, "request");
    host.fds[NETWORK].write_error = EPIPE;
    host.idle = cancel;
    CHECK_EQUAL(run(), -ECANCELED);
}

static void a_failed_end_is_reported_after_the_other_direction(void) {
    host.fds[INTERNAL].ends = true;
    host.fds[NETWORK].shutdown_error = EIO;
    host.idle = last_words;
    CHECK_EQUAL(run(), -EIO);
    CHECK(has_said(INTERNAL, "words"));
}

static void end_without_half_close(int error) {
    handshake = frames;
    send(INTERNAL, "request");
    send(NETWORK, "\5hello\5wor"); // the rest never comes
    host.fds[INTERNAL].ends = true;
    host.fds[INTERNAL].room = 0; // what was read is written before it is over
    host.fds[INTERNAL].refill = 1;
    for (int fd = INTERNAL; fd <= NETWORK; fd++)
        host.fds[fd].shutdown_error = error;
    CHECK_EQUAL(run(), 0);
    CHECK(has_said(NETWORK, "\7request\3bye") && has_said(INTERNAL, "hello"));
}

static void without_half_close_one_end_is_the_end(void) { end_without_half_close(ENOSYS); }
static void a_half_close_that_is_not_supported_is_none(void) { end_without_half_close(ENOTSUP); }
static void a_descriptor_that_is_no_socket_has_none(void) { end_without_half_close(ENOTSOCK); }

static void control_ends_a_connection_at_once(void) {
    send(NETWORK, "stuck");
    host.fds[INTERNAL].room = 0;
    host.idle = cancel;
    CHECK_EQUAL(run(), -ECANCELED);
    CHECK(!host.fds[INTERNAL].ended && !host.fds[NETWORK].ended);
}

static bool end_control(unsigned step) {
    host.fds[PIPE].ends = true;
    return step == 0;
}

static void the_end_of_control_is_control(void) {
    host.idle = end_control;
    CHECK_EQUAL(run(), -ECANCELED);
}

static void an_end_within_a_frame_is_a_protocol_error(void) {
    handshake = frames;
    send(NETWORK, "\5hello\5hel");
    host.fds[NETWORK].ends = true;
    host.fds[INTERNAL].room = 1;
    host.fds[INTERNAL].refill = 1;
    CHECK_EQUAL(run(), -EPROTO);
    CHECK(has_said(INTERNAL, "hello"));
    CHECK(!host.fds[INTERNAL].ended);
}

static void what_comes_before_a_bad_frame_is_delivered(void) {
    handshake = frames;
    send(NETWORK, "\5hello\5world\xff");
    host.fds[INTERNAL].room = 0;
    host.fds[INTERNAL].refill = 1;
    CHECK_EQUAL(run(), -EPROTO);
    CHECK(has_said(INTERNAL, "helloworld"));
}

static int32_t count_wrongly(void *state, const uint8_t *input, size_t length,
                             struct watm_output *output) {
    (void)state, (void)input, (void)output;
    return (int32_t)length + 1;
}

static int32_t wrong_codec(struct watm_stream *network, struct watm_connection *connection) {
    (void)network;
    connection->decode = (struct watm_codec){.update = count_wrongly};
    return 0;
}

static void a_codec_that_uses_more_than_there_is_fails(void) {
    handshake = wrong_codec;
    send(NETWORK, "x");
    CHECK_EQUAL(run(), -EOVERFLOW);
}

// ---- How a connection begins ----

static int32_t greet(struct watm_stream *network, struct watm_connection *connection) {
    char received[64];
    int32_t result = watm_write(network, "hello\n", 6);
    if (result < 0) return result;
    size_t length = 0;
    const char *end = NULL;
    // Reads beyond the line, and gives the rest back in parts.
    while (end == NULL) {
        int32_t count = watm_read(network, received + length, sizeof received - length);
        if (count < 0) return count;
        if (count == 0) return -EPROTO;
        length += (size_t)count;
        end = memchr(received, '\n', length);
    }
    size_t rest = (size_t)(received + length - end - 1);
    CHECK_EQUAL(watm_unread(network, end + 1, rest), 0);
    char again[3];
    CHECK_EQUAL(watm_read_exactly(network, again, 3), 0);
    CHECK_EQUAL(watm_unread(network, again + 1, 2), 0);
    CHECK_EQUAL(watm_unread(network, again, 1), 0);
    return frames(network, connection);
}

static void a_handshake_that_reads_too_far_loses_nothing(void) {
    handshake = greet;
    send(NETWORK, "welcome\n\5hello\5wo");
    dial();
    host.idle = cancel;
    CHECK_EQUAL(host.fds[NETWORK].input_length, 0);
    CHECK_EQUAL(watm_start_v1(), -ECANCELED);
    CHECK(has_said(NETWORK, "hello\n"));
    CHECK(has_said(INTERNAL, "hello"));
}

static bool rest_of_the_frame(unsigned step) {
    send(NETWORK, "rld");
    host.fds[NETWORK].ends = true;
    return step == 0;
}

static void what_follows_joins_what_was_given_back(void) {
    handshake = greet;
    send(NETWORK, "welcome\n\5hello\5wo");
    dial();
    host.fds[INTERNAL].ends = true;
    host.idle = rest_of_the_frame;
    CHECK_EQUAL(watm_start_v1(), 0);
    CHECK(has_said(INTERNAL, "helloworld"));
}

static int32_t read_to_the_end(struct watm_stream *network, struct watm_connection *connection) {
    char byte;
    (void)connection;
    while (watm_read(network, &byte, 1) > 0) continue;
    return watm_unread(network, "rest", 4);
}

static void an_end_that_the_handshake_has_seen_is_kept(void) {
    handshake = read_to_the_end;
    send(NETWORK, "all of it");
    host.fds[NETWORK].ends = host.fds[INTERNAL].ends = true;
    dial();
    unsigned reads = host.fds[NETWORK].reads;
    CHECK_EQUAL(watm_start_v1(), 0);
    CHECK_EQUAL(host.fds[NETWORK].reads, reads);
    CHECK(has_said(INTERNAL, "rest") && host.fds[INTERNAL].ended);
}

static bool welcome_slowly(unsigned step) {
    send(NETWORK, (const char *[]){"we", "lcome", "\n\5h", "ell"}[step]);
    return step < 4;
}

static void a_handshake_works_on_descriptors_that_do_not_block(void) {
    handshake = greet;
    host.fds[NETWORK].nonblocking = true;
    host.fds[NETWORK].write_limit = 4;
    host.fds[NETWORK].room = 1;
    host.fds[NETWORK].refill = 2;
    host.idle = welcome_slowly;
    dial();
    CHECK(has_said(NETWORK, "hello\n"));
}

static void a_write_that_takes_nothing_is_a_refusal(void) {
    handshake = greet;
    send(NETWORK, "welcome\n\5hello");
    send(INTERNAL, "request");
    host.fds[INTERNAL].ends = host.fds[NETWORK].ends = true;
    host.fds[NETWORK].empty_writes = 3;
    dial();
    host.fds[NETWORK].empty_writes = host.fds[INTERNAL].empty_writes = 2;
    CHECK_EQUAL(watm_start_v1(), 0);
    CHECK(has_said(NETWORK, "hello\n\7request\3bye") && has_said(INTERNAL, "hello"));
}

static void a_poll_without_events_does_not_make_it_spin(void) {
    host.fds[NETWORK].nonblocking = true;
    handshake = greet;
    host.empty_polls = 5;
    host.idle = welcome_slowly;
    dial();
    CHECK_EQUAL(host.sleeps, 5);
    host.empty_polls = 5;
    host.fds[INTERNAL].ends = host.fds[NETWORK].ends = true;
    send(NETWORK, "o");
    CHECK_EQUAL(watm_start_v1(), 0);
    CHECK_EQUAL(host.sleeps, 10);
    CHECK(has_said(INTERNAL, "hello"));
}

static int32_t read_ten(struct watm_stream *network, struct watm_connection *connection) {
    char bytes[10];
    (void)connection;
    return watm_read_exactly(network, bytes, sizeof bytes);
}

static void an_end_within_the_handshake_is_a_protocol_error(void) {
    handshake = read_ten;
    send(NETWORK, "12345");
    host.fds[NETWORK].ends = true;
    CHECK_EQUAL(watm_dial_v1(INTERNAL), -EPROTO);
    CHECK_EQUAL(watm_start_v1(), -ENOTCONN);
}

static void the_configuration_is_passed_whole(void) {
    const uint8_t *bytes = noise(100000);
    host.open_error = 0;
    host_send(CONFIG, bytes, 100000);
    host.fds[CONFIG].ends = true;
    host.fds[CONFIG].read_limit = 7777;
    CHECK_EQUAL(watm_init_v1(), 0);
    CHECK_EQUAL(config_length, 100000);
    CHECK(memcmp(config, bytes, 100000) == 0);
}

static void no_configuration_differs_from_an_empty_one(void) {
    host.open_error = 0;
    host.fds[CONFIG].ends = true;
    CHECK_EQUAL(watm_init_v1(), 0);
    CHECK(config != NULL && config_length == 0);
    const int none[] = {ENOENT, EBADF, ENOTCAPABLE};
    for (int i = 0; i < 3; i++) {
        host.open_error = none[i];
        config_length = 1;
        CHECK_EQUAL(watm_init_v1(), 0);
        CHECK(config == NULL && config_length == 0);
    }
    host.open_error = EACCES;
    CHECK_EQUAL(watm_init_v1(), -EACCES);
    host.open_error = 0;
    host.fds[CONFIG].ends = false;
    host.fds[CONFIG].read_error = EIO;
    CHECK_EQUAL(watm_init_v1(), -EIO);
}

static void each_role_connects_its_two_sides(void) {
    CHECK_EQUAL(watm_dial_fixed_v1(INTERNAL), NETWORK);
    CHECK(strcmp(host.network, "tcp4") == 0 && strcmp(host.address, "example.org:443") == 0);
    // The transport of these tests has no `accept`.
    CHECK_EQUAL(watm_accept_v1(INTERNAL), -ENOSYS);
    CHECK_EQUAL(watm_associate_v1(), 0);
    CHECK_EQUAL(watm_ctrlpipe_v1(PIPE), 0);
    send(ACCEPTED, "request");
    send(NETWORK, "response");
    host.fds[ACCEPTED].ends = host.fds[NETWORK].ends = true;
    CHECK_EQUAL(watm_start_v1(), 0);
    CHECK(has_said(NETWORK, "request") && has_said(ACCEPTED, "response"));
}

static void the_errors_of_the_host_are_returned(void) {
    CHECK_EQUAL(watm_start_v1(), -ENOTCONN);
    CHECK_EQUAL(watm_ctrlpipe_v1(-1), -EBADF);
    host.dialled_fixed = -ECONNREFUSED;
    CHECK_EQUAL(watm_dial_v1(INTERNAL), -ECONNREFUSED);
    CHECK_EQUAL(watm_associate_v1(), -ECONNREFUSED);
    host.accepted = -ENODEV;
    CHECK_EQUAL(watm_associate_v1(), -ENODEV);
    host.dialled = -EPERM;
    CHECK_EQUAL(watm_dial_fixed_v1(INTERNAL), -EPERM);
}

static void a_log_line_is_one_write(void) {
    watm_log("one");
    watm_logf("%s %d", "two", 3);
    CHECK(strcmp(host.log, "one\ntwo 3\n") == 0);
    CHECK_EQUAL(host.log_writes, 2);
    watm_logf("%0600d", 1);
    CHECK_EQUAL(host.log_writes, 3);
    CHECK_EQUAL(strlen(host.log), 10 + 511 + 1);
}

static void without_a_host_that_encrypts_there_is_no_key(void) {
    uint8_t bytes[64] = {0};
    CHECK_EQUAL(watm_aead_key(WATM_AES_128_GCM, bytes, 16), -ENOSYS);
    CHECK_EQUAL(watm_aead_seal(1, bytes, NULL, 0, bytes, 8, bytes), -ENOSYS);
    CHECK_EQUAL(watm_aead_open(1, bytes, NULL, 0, bytes, 24, bytes), -ENOSYS);
    watm_aead_close(1);
    // Too few functions are declined.
    CHECK_EQUAL(watm_aead_take(7, 3), ENOSYS);
    CHECK_EQUAL(watm_aead_take(0, 4), ENOSYS);
    CHECK_EQUAL(watm_aead_key(WATM_AES_128_GCM, bytes, 16), -ENOSYS);
}

int main(void) {
    const struct test_case cases[] = {
        CASE(bytes_pass_unchanged_without_codecs),
        CASE(polls_for_writing_are_announced_before_the_first_write),
        CASE(a_wake_up_costs_one_poll_one_read_and_one_write),
        CASE(a_host_that_refuses_and_shortens_writes_loses_nothing),
        CASE(a_write_that_takes_nothing_is_a_refusal),
        CASE(a_side_is_not_read_while_what_it_sent_waits),
        CASE(a_full_side_does_not_stop_the_other_direction),
        CASE(one_byte_at_a_time_makes_the_same_frames),
        CASE(many_frames_in_one_read_leave_in_one_write),
        CASE(interrupted_calls_are_made_again),
        CASE(nothing_is_allocated_for_messages),
        CASE(a_frame_larger_than_a_piece_is_collected),
        CASE(what_a_codec_leaves_is_bounded),
        CASE(the_other_direction_goes_on_after_an_end),
        CASE(the_end_follows_the_bytes_that_were_refused),
        CASE(an_end_that_nobody_hears_is_no_error),
        CASE(a_reset_is_reported_after_the_bytes_before_it),
        CASE(last_words_arrive_after_a_failed_write),
        CASE(control_ends_a_connection_whose_write_has_failed),
        CASE(a_failed_end_is_reported_after_the_other_direction),
        CASE(without_half_close_one_end_is_the_end),
        CASE(a_half_close_that_is_not_supported_is_none),
        CASE(a_descriptor_that_is_no_socket_has_none),
        CASE(control_ends_a_connection_at_once),
        CASE(the_end_of_control_is_control),
        CASE(an_end_within_a_frame_is_a_protocol_error),
        CASE(what_comes_before_a_bad_frame_is_delivered),
        CASE(a_codec_that_uses_more_than_there_is_fails),
        CASE(a_handshake_that_reads_too_far_loses_nothing),
        CASE(what_follows_joins_what_was_given_back),
        CASE(an_end_that_the_handshake_has_seen_is_kept),
        CASE(a_handshake_works_on_descriptors_that_do_not_block),
        CASE(a_poll_without_events_does_not_make_it_spin),
        CASE(an_end_within_the_handshake_is_a_protocol_error),
        CASE(the_configuration_is_passed_whole),
        CASE(no_configuration_differs_from_an_empty_one),
        CASE(each_role_connects_its_two_sides),
        CASE(the_errors_of_the_host_are_returned),
        CASE(a_log_line_is_one_write),
        CASE(without_a_host_that_encrypts_there_is_no_key),
    };
    return run_cases(cases, sizeof cases / sizeof cases[0]);
}
