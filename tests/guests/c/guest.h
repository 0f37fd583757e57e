// What every C guest needs: the three functions that the host provides, the way to export a
// function, and the small helpers of library/. Roles and workers are in library/module.h.
#ifndef GUEST_H
#define GUEST_H

#include <stddef.h>
#include <stdint.h>
#include <wasi/api.h>

#define IMPORT(name) __attribute__((import_module("env"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

IMPORT(water_dial)
int32_t water_dial(const __wasi_ciovec_t *network, size_t network_len,
                   const __wasi_ciovec_t *address, size_t address_len);
IMPORT(water_dial_fixed) int32_t water_dial_fixed(void);
IMPORT(water_accept) int32_t water_accept(void);

// Every function that returns an s32 reports a failure as the negated WASI errno.
static inline int32_t failed(__wasi_errno_t error) { return -(int32_t)error; }

// library/dial.c: water_dial for two C strings, with one ciovec each.
int32_t dial_address(const char *network, const char *address);

// library/config.c: the embedder's configuration, or a negative errno (-ENOENT if there is none).
#define CONFIG_MAX 4096
int32_t config_read(char *text, size_t capacity);
// Line `index`, counted from 0, without its newline, NUL-terminated. -ENOENT if there is no such
// line.
int32_t config_line(int index, char *line, size_t capacity);
// A line that is a number from 1 to `largest`. -EINVAL if it is anything else.
int32_t config_size(int index, int32_t largest);

// library/log.c: writes one line to standard error in one fd_write. Formats: %s, %d (int32_t).
void log_line(const char *format, ...);

// library/io.c: one fd_read or fd_write of one buffer. Returns a byte count or a negative errno.
int32_t read_some(int32_t fd, void *buffer, size_t length);
int32_t write_some(int32_t fd, const void *buffer, size_t length);
// Loop over short reads and writes. Return 0 or a negative errno (-ECONNRESET for an early end of
// stream). For blocking descriptors only: EAGAIN is a failure here.
int32_t read_exactly(int32_t fd, void *buffer, size_t length);
int32_t write_fully(int32_t fd, const void *buffer, size_t length);
// Writes the whole buffer again while the answer is EAGAIN. Returns 0 or a negative errno (-EIO for
// a short write).
int32_t write_spinning(int32_t fd, const void *buffer, size_t length);
int32_t set_nonblocking(int32_t fd);

#endif
