/*
 * An event loop: one thread that dials, accepts, and moves bytes both ways over several connections
 * at once. Nothing in it waits but poll().
 *
 *   poll_loop MODULE [CONNECTIONS [BYTES]]
 *
 * Each client sends BYTES bytes and checks what comes back; the other side sends back what it gets.
 */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <watm.h>

enum { PIECE = 16384, PATIENCE = 60000 };

/* What poll() watches: a dial that is under way, then its connection; or an accepted connection. */
struct peer {
  watm_pending *pending;
  watm_conn *conn;
  int fd;
  bool is_client, is_done;
  size_t sent, received;
  unsigned char held[PIECE]; /* Received, and not sent back yet. */
  size_t held_length, held_at;
};

static size_t total = 1 << 20;

static void fail(const char *what, const watm_error *error) {
  if (error) {
    fprintf(stderr, "%s: %s (%s)\n", what, watm_error_message(error), watm_error_code(error));
  } else {
    fprintf(stderr, "%s\n", what);
  }
  exit(1);
}

/* Whether a call worked. It ends the program unless it is to be called again later. It takes the
 * place of the error, since C may look at its arguments before it makes the call that is another of
 * them. */
static bool worked(const char *what, watm_status status, watm_error **error) {
  if (status != WATM_STATUS_OK && status != WATM_STATUS_AGAIN) fail(what, *error);
  return status == WATM_STATUS_OK;
}

static unsigned char byte_at(size_t at) { return (unsigned char)(at * 31 + (at >> 9)); }

static void connected(struct peer *peer, watm_conn *conn) {
  watm_error *error = NULL;
  peer->conn = conn;
  worked("nonblocking", watm_conn_nonblocking(conn, true, &error), &error);
  worked("readiness", watm_conn_readiness(conn, &peer->fd, &error), &error);
}

/* Goes on with a dial. */
static void dial(struct peer *peer) {
  watm_error *error = NULL;
  watm_conn *conn = NULL;
  if (!worked("dial", watm_pending_wait(peer->pending, 0, &conn, &error), &error)) return;
  watm_pending_free(peer->pending);
  peer->pending = NULL;
  close(peer->fd);
  connected(peer, conn);
}

static void finish(struct peer *peer) {
  watm_conn_free(peer->conn);
  peer->conn = NULL;
  close(peer->fd);
  peer->is_done = true;
}

/* Sends until the connection takes no more. */
static void client_write(struct peer *peer) {
  unsigned char bytes[PIECE];
  watm_error *error = NULL;
  while (peer->sent < total) {
    size_t length = total - peer->sent < PIECE ? total - peer->sent : PIECE, written;
    for (size_t i = 0; i < length; i++) bytes[i] = byte_at(peer->sent + i);
    watm_status status = watm_conn_write(peer->conn, bytes, length, &written, &error);
    if (!worked("write", status, &error)) return;
    peer->sent += written;
  }
}

/* Receives until there is no more, and checks each byte. */
static void client_read(struct peer *peer) {
  unsigned char bytes[PIECE];
  watm_error *error = NULL;
  while (peer->received < total) {
    size_t length;
    watm_status status = watm_conn_read(peer->conn, bytes, sizeof bytes, &length, &error);
    if (!worked("read", status, &error)) return;
    for (size_t i = 0; i < length; i++) {
      if (bytes[i] != byte_at(peer->received + i)) fail("what came back differs", NULL);
    }
    if (length == 0) fail("the other side has closed", NULL);
    peer->received += length;
  }
  finish(peer);
}

/* Sends back what comes, until there is nothing or no room. */
static void echo(struct peer *peer) {
  watm_error *error = NULL;
  for (;;) {
    while (peer->held_at < peer->held_length) {
      size_t written;
      watm_status status =
          watm_conn_write(peer->conn, peer->held + peer->held_at,
                          peer->held_length - peer->held_at, &written, &error);
      if (!worked("echo", status, &error)) return;
      peer->held_at += written;
    }
    watm_status status =
        watm_conn_read(peer->conn, peer->held, PIECE, &peer->held_length, &error);
    if (!worked("echo", status, &error)) {
      peer->held_length = peer->held_at = 0;
      return;
    }
    peer->held_at = 0;
    if (peer->held_length == 0) {
      finish(peer);
      return;
    }
  }
}

static void go_on(struct peer *peer) {
  if (peer->pending) dial(peer);
  if (!peer->conn) return;
  if (peer->is_client) {
    client_write(peer);
    client_read(peer);
  } else {
    echo(peer);
  }
}

/* What to wait for: what is ready, and nobody wants, would end each wait at once. */
static short wanted(const struct peer *peer) {
  if (peer->pending) return POLLIN;
  if (peer->is_client) return (short)(POLLIN | (peer->sent < total ? POLLOUT : 0));
  return peer->held_at < peer->held_length ? POLLOUT : POLLIN;
}

static void run(const watm_listener *listener, int listening, struct peer *peers, size_t clients) {
  struct pollfd *fds = calloc(2 * clients + 1, sizeof *fds);
  size_t count = clients; /* The accepted connections come after the clients. */
  for (;;) {
    size_t watched = 0, done = 0;
    fds[watched++] = (struct pollfd){.fd = listening, .events = POLLIN};
    for (size_t i = 0; i < count; i++) {
      done += peers[i].is_done;
      int fd = peers[i].is_done ? -1 : peers[i].fd;
      fds[watched++] = (struct pollfd){.fd = fd, .events = wanted(&peers[i])};
    }
    if (done == 2 * clients) break;
    if (poll(fds, (nfds_t)watched, PATIENCE) <= 0) fail("nothing happens", NULL);
    if (fds[0].revents) {
      watm_error *error = NULL;
      watm_conn *conn = NULL;
      while (worked("accept", watm_listener_try_accept(listener, &conn, &error), &error)) {
        if (count == 2 * clients) fail("too many connections", NULL);
        connected(&peers[count++], conn);
      }
    }
    for (size_t i = 1; i < watched; i++) {
      if (fds[i].revents) go_on(&peers[i - 1]);
    }
  }
  free(fds);
}

int main(int count, char **arguments) {
  if (count < 2 || count > 4) {
    fprintf(stderr, "usage: %s MODULE [CONNECTIONS [BYTES]]\n", arguments[0]);
    return 2;
  }
  size_t clients = count > 2 ? strtoul(arguments[2], NULL, 10) : 8;
  if (count > 3) total = strtoul(arguments[3], NULL, 10);

  watm_error *error = NULL;
  watm_module *module = NULL;
  watm_listener *listener = NULL;
  watm_dialer *dialer = NULL;
  int listening;
  worked("load", watm_module_load_file(arguments[1], &module, &error), &error);
  worked("listen", watm_listener_bind(module, NULL, "127.0.0.1:0", &listener, &error), &error);
  worked("readiness", watm_listener_readiness(listener, &listening, &error), &error);
  worked("dialer", watm_dialer_new(module, NULL, &dialer, &error), &error);

  struct peer *peers = calloc(2 * clients, sizeof *peers);
  for (size_t i = 0; i < clients; i++) {
    const char *address = watm_listener_local_addr(listener);
    peers[i].is_client = true;
    worked("dial", watm_dialer_begin(dialer, address, NULL, &peers[i].pending, &error), &error);
    worked("readiness", watm_pending_readiness(peers[i].pending, &peers[i].fd, &error), &error);
  }
  run(listener, listening, peers, clients);
  printf("%s: %zu connections moved %zu bytes there and back in one thread\n",
         watm_module_name(module), clients, total);

  free(peers);
  close(listening);
  watm_dialer_free(dialer);
  watm_listener_free(listener);
  watm_module_free(module);
  size_t left;
  worked("drain", watm_drain(5000, &left, &error), &error);
  if (left != 0 || watm_handle_count() != 0) {
    fprintf(stderr, "%zu connections and %zu handles are left\n", left, watm_handle_count());
    return 1;
  }
  return 0;
}
