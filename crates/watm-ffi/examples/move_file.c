/*
 * Moves a file through a tunnel and back, and checks that it arrives as it was.
 *
 *   move_file MODULE FILE [CONFIG]
 *
 * Both ends of the tunnel are in this program: a listener that sends back what it gets, and a
 * dialer.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <watm.h>

enum { PIECE = 65536 };

/* Ends the program if a call has failed. It takes the place of the error, since C may look at its
 * arguments before it makes the call that is another of them. */
static void check(const char *what, watm_status status, watm_error **error) {
  if (status != WATM_STATUS_OK) {
    fprintf(stderr, "%s: %s (status %d, %s)\n", what, watm_error_message(*error), (int)status,
            watm_error_code(*error));
    watm_error_free(*error);
    exit(1);
  }
}

static unsigned char *read_file(const char *path, size_t *length) {
  FILE *file = fopen(path, "rb");
  if (!file) {
    perror(path);
    exit(1);
  }
  size_t room = PIECE, got;
  unsigned char *bytes = malloc(room);
  *length = 0;
  while (bytes && (got = fread(bytes + *length, 1, room - *length, file)) > 0) {
    *length += got;
    if (*length == room) {
      room *= 2;
      bytes = realloc(bytes, room);
    }
  }
  if (!bytes || ferror(file)) {
    perror(path);
    exit(1);
  }
  fclose(file);
  return bytes;
}

/* Accepts one connection and sends back all that comes, until the other side closes. */
static void *echo(void *argument) {
  const watm_listener *listener = argument;
  watm_error *error = NULL;
  watm_conn *conn = NULL;
  check("accept", watm_listener_accept(listener, &conn, &error), &error);
  static unsigned char bytes[PIECE];
  for (;;) {
    size_t length;
    check("read", watm_conn_read(conn, bytes, sizeof bytes, &length, &error), &error);
    if (length == 0) break;
    check("write", watm_conn_write_all(conn, bytes, length, NULL, &error), &error);
  }
  watm_outcome outcome;
  check("close", watm_conn_close(conn, &outcome, &error), &error);
  watm_conn_free(conn);
  return NULL;
}

struct sending {
  const watm_conn *conn;
  const unsigned char *bytes;
  size_t length;
};

static void *send_all(void *argument) {
  const struct sending *sending = argument;
  watm_error *error = NULL;
  check("send",
        watm_conn_write_all(sending->conn, sending->bytes, sending->length, NULL, &error), &error);
  return NULL;
}

/* Sends the file, and compares what comes back. */
static void move(const watm_conn *conn, const unsigned char *bytes, size_t length) {
  struct sending sending = {conn, bytes, length};
  pthread_t sender;
  if (pthread_create(&sender, NULL, send_all, &sending) != 0) exit(1);
  static unsigned char back[PIECE];
  size_t got, at = 0;
  watm_error *error = NULL;
  while (at < length) {
    check("receive", watm_conn_read(conn, back, sizeof back, &got, &error), &error);
    if (got == 0 || got > length - at || memcmp(back, bytes + at, got) != 0) {
      fprintf(stderr, "what came back differs after %zu bytes\n", at);
      exit(1);
    }
    at += got;
  }
  pthread_join(sender, NULL);
}

int main(int count, char **arguments) {
  if (count < 3 || count > 4) {
    fprintf(stderr, "usage: %s MODULE FILE [CONFIG]\n", arguments[0]);
    return 2;
  }
  size_t length, config_length;
  unsigned char *bytes = read_file(arguments[2], &length);

  watm_error *error = NULL;
  watm_module *module = NULL;
  check("load", watm_module_load_file(arguments[1], &module, &error), &error);
  watm_settings *settings = watm_settings_new();
  if (count == 4) {
    unsigned char *config = read_file(arguments[3], &config_length);
    check("config", watm_settings_config(settings, config, config_length, &error), &error);
    free(config);
  }

  watm_listener *listener = NULL;
  check("listen", watm_listener_bind(module, settings, "127.0.0.1:0", &listener, &error), &error);
  pthread_t server;
  if (pthread_create(&server, NULL, echo, listener) != 0) return 1;

  watm_dialer *dialer = NULL;
  watm_conn *conn = NULL;
  check("dialer", watm_dialer_new(module, settings, &dialer, &error), &error);
  const char *address = watm_listener_local_addr(listener);
  check("dial", watm_dialer_dial(dialer, address, NULL, &conn, &error), &error);

  move(conn, bytes, length);

  watm_outcome outcome;
  check("close", watm_conn_close(conn, &outcome, &error), &error);
  pthread_join(server, NULL);
  watm_traffic traffic;
  check("stats", watm_conn_stats(conn, &traffic, sizeof traffic, &error), &error);
  printf("%s: %zu bytes there and back through %s; %" PRIu64 " sent, %" PRIu64 " received\n",
         watm_module_name(module), length, watm_conn_peer_addr(conn), traffic.sent,
         traffic.received);

  watm_conn_free(conn);
  watm_dialer_free(dialer);
  watm_listener_free(listener);
  watm_settings_free(settings);
  watm_module_free(module);
  free(bytes);
  size_t left;
  check("drain", watm_drain(5000, &left, &error), &error);
  if (left != 0 || watm_handle_count() != 0) {
    fprintf(stderr, "%zu connections and %zu handles are left\n", left, watm_handle_count());
    return 1;
  }
  return 0;
}
