//! Pass-through in Zig, directly on WASI: one loop that waits for anything to read and writes it to
//! the other side. It has half-close and all roles but dial_fixed.

const wasi = @import("std").os.wasi;

extern "env" fn water_dial_fixed() i32;
extern "env" fn water_accept() i32;

var near: i32 = -1;
var far: i32 = -1;
var control: i32 = -1;
var buffer: [16384]u8 = undefined;

const Ended = error{ Failed, Cancelled };

export fn watm_init_v1() i32 {
    return 0;
}

export fn watm_ctrlpipe_v1(fd: i32) i32 {
    control = fd;
    return 0;
}

export fn watm_dial_v1(internal: i32) i32 {
    near = internal;
    far = water_dial_fixed();
    return far;
}

export fn watm_accept_v1(internal: i32) i32 {
    near = internal;
    far = water_accept();
    return far;
}

export fn watm_associate_v1() i32 {
    near = water_accept();
    if (near < 0) return near;
    far = water_dial_fixed();
    return @min(far, 0);
}

export fn watm_start_v1() i32 {
    var open = [2]bool{ true, true };
    while (open[0] or open[1]) {
        step(&open) catch |ended| switch (ended) {
            error.Cancelled => return -@as(i32, @intFromEnum(wasi.errno_t.CANCELED)),
            error.Failed => return -@as(i32, @intFromEnum(failure)),
        };
    }
    return 0;
}

var failure: wasi.errno_t = .IO;

fn check(errno: wasi.errno_t) Ended!void {
    if (errno != .SUCCESS) {
        failure = errno;
        return error.Failed;
    }
}

/// Waits until something can be read, and forwards it.
fn step(open: *[2]bool) Ended!void {
    const sides = [3]i32{ near, far, control };
    var subscriptions: [3]wasi.subscription_t = undefined;
    var count: usize = 0;
    for (sides, 0..) |fd, side| {
        if (side < 2 and !open[side]) continue;
        subscriptions[count] = .{
            .userdata = side,
            .u = .{ .tag = .FD_READ, .u = .{ .fd_read = .{ .fd = fd } } },
        };
        count += 1;
    }
    var events: [3]wasi.event_t = undefined;
    var ready: usize = 0;
    try check(wasi.poll_oneoff(&subscriptions[0], &events[0], count, &ready));
    for (events[0..ready]) |event| {
        try check(event.@"error");
        if (event.userdata == 2) return error.Cancelled;
        const side: usize = @intCast(event.userdata);
        if (!try pass(sides[side], sides[1 - side])) open[side] = false;
    }
}

/// Forwards the result of one read. Returns false at the end of the stream, which it forwards too.
fn pass(from: i32, to: i32) Ended!bool {
    const into = [1]wasi.iovec_t{.{ .base = &buffer, .len = buffer.len }};
    var len: usize = 0;
    try check(wasi.fd_read(from, &into, 1, &len));
    if (len == 0) {
        try check(wasi.sock_shutdown(to, .{ .WR = true }));
        return false;
    }
    var sent: usize = 0;
    while (sent < len) {
        const piece = [1]wasi.ciovec_t{.{ .base = buffer[sent..].ptr, .len = len - sent }};
        var written: usize = 0;
        try check(wasi.fd_write(to, &piece, 1, &written));
        sent += written;
    }
    return true;
}
