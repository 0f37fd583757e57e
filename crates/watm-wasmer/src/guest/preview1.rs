//! The functions of WASI Preview 1, as the engine sees them.
//!
//! Each takes the guest's numbers apart, lends the host or its files the guest's memory, and turns the
//! answer into what the engine expects. Which of the two a descriptor belongs to is decided here.

use std::sync::Arc;

use wasmer::{AsStoreMut, Function, FunctionEnv, RuntimeError};
use watm_abi::{Errno, GuestMemory, IovecArray, RiFlags, Rights};

use crate::guest::call::{Answer, Ctx, Env, Unwind, call, errno, lend, refuse, unwind};
use crate::host::arguments::{Arguments, Strings};
use crate::host::descriptor::FIRST_FD;
use crate::host::files::{At, Files, Opening};

fn owns(ctx: &Ctx<'_>, fd: i32) -> bool {
    ctx.data().host.owns(fd.cast_unsigned())
}

/// Runs a function on files, which answers with an error number.
fn on_files(
    ctx: &mut Ctx<'_>,
    f: impl FnOnce(&mut Files, &mut [u8]) -> Result<(), Errno>,
) -> Answer {
    errno(lend(ctx, |host, files, memory| {
        host.check_stop()?;
        Ok(f(files, memory)?)
    }))
}

/// Reads for `fd_read` and `sock_recv`. Where the answers go is checked first, so that no byte is
/// taken that could not be reported, and written last: it may be where the array of buffers lies.
fn receive(
    ctx: &mut Ctx<'_>,
    fd: i32,
    iovecs: (i32, i32),
    flags: RiFlags,
    len_at: i32,
    flags_at: Option<i32>,
) -> Answer {
    call(ctx, |host, memory| {
        memory.slice(len_at.cast_unsigned(), 4)?;
        if let Some(flags_at) = flags_at {
            memory.slice(flags_at.cast_unsigned(), 2)?;
        }
        let iovecs =
            IovecArray::decode(memory, iovecs.0.cast_unsigned(), iovecs.1.cast_unsigned())?;
        let len = host.read(memory, fd.cast_unsigned(), &iovecs, flags)?;
        if let Some(flags_at) = flags_at {
            memory.write_u16(flags_at.cast_unsigned(), 0)?;
        }
        Ok(memory.write_u32(len_at.cast_unsigned(), len)?)
    })
}

fn send(ctx: &mut Ctx<'_>, fd: i32, iovecs: (i32, i32), len_at: i32) -> Answer {
    call(ctx, |host, memory| {
        memory.slice(len_at.cast_unsigned(), 4)?;
        let iovecs =
            IovecArray::decode(memory, iovecs.0.cast_unsigned(), iovecs.1.cast_unsigned())?;
        let len = host.write(memory, fd.cast_unsigned(), &iovecs)?;
        Ok(memory.write_u32(len_at.cast_unsigned(), len)?)
    })
}

/// Arguments and environment: two lists of strings, each with a function for its size and one for
/// its contents.
pub(super) fn argument_function(
    name: &str,
    store: &mut impl AsStoreMut,
    env: &FunctionEnv<Env>,
) -> Option<Function> {
    fn on_arguments(
        ctx: &mut Ctx<'_>,
        f: impl FnOnce(&Arguments, &mut [u8]) -> Result<(), Errno>,
    ) -> Answer {
        let arguments = Arc::clone(&ctx.data().arguments);
        call(ctx, |host, memory| {
            host.check_stop()?;
            Ok(f(&arguments, memory)?)
        })
    }
    fn sizes(strings: &Strings, memory: &mut [u8], (count, size): (u32, u32)) -> Result<(), Errno> {
        memory.slice(size, 4)?;
        memory.write_u32(count, strings.count())?;
        memory.write_u32(size, strings.size())
    }
    macro_rules! function {
        (|$arguments:ident, $memory:ident, $first:ident, $second:ident| $body:expr) => {
            Function::new_typed_with_env(
                store,
                env,
                |mut ctx: Ctx<'_>, $first: u32, $second: u32| -> Answer {
                    on_arguments(&mut ctx, |$arguments, $memory| $body)
                },
            )
        };
    }
    Some(match name {
        "args_sizes_get" => function!(|arguments, memory, count, size| {
            sizes(&arguments.args, memory, (count, size))
        }),
        "args_get" => function!(|arguments, memory, pointers, bytes| {
            arguments.args.write(memory, pointers, bytes)
        }),
        "environ_sizes_get" => function!(|arguments, memory, count, size| {
            sizes(&arguments.environment, memory, (count, size))
        }),
        "environ_get" => function!(|arguments, memory, pointers, bytes| {
            arguments.environment.write(memory, pointers, bytes)
        }),
        _ => return None,
    })
}

/// The answer of functions on sockets to a descriptor that is not the host's.
fn no_socket(ctx: &Ctx<'_>, fd: i32) -> Answer {
    refuse(if ctx.data().files.contains(fd.cast_unsigned()) {
        Errno::Notsock
    } else {
        Errno::Badf
    })
}

fn poll_oneoff(
    ctx: &mut Ctx<'_>,
    subscriptions: i32,
    events: i32,
    count: i32,
    count_at: i32,
) -> Answer {
    errno(lend(ctx, |host, files, memory| {
        memory.slice(count_at.cast_unsigned(), 4)?;
        let (subscriptions, events) = (subscriptions.cast_unsigned(), events.cast_unsigned());
        let count = count.cast_unsigned();
        let ready = host.poll_oneoff(memory, subscriptions, events, count, &|fd, rights| {
            files.check_poll(fd, rights)
        })?;
        Ok(memory.write_u32(count_at.cast_unsigned(), ready)?)
    }))
}

fn fd_close(ctx: &mut Ctx<'_>, fd: u32) -> Answer {
    if ctx.data().host.owns(fd) {
        return call(ctx, |host, _| host.close(fd));
    }
    let answer = on_files(ctx, |files, _| files.take(fd).map(drop))?;
    if answer == 0 {
        ctx.data_mut().host.release(fd);
    }
    Ok(answer)
}

/// `fd_renumber`, where each of the two may be the host's or a file. The target must be open, but for
/// free numbers of the host's range, where no file is put by itself.
fn fd_renumber(ctx: &mut Ctx<'_>, from: u32, to: u32) -> Answer {
    let Env { host, files, .. } = ctx.data_mut();
    if host.is_stopping() {
        return Err(unwind(Unwind::Stop));
    }
    let (from_ours, to_ours) = (host.owns(from), host.owns(to));
    let (from_file, to_file) = (files.contains(from), files.contains(to));
    let free_of_ours = (FIRST_FD..watm_abi::FD_LIMIT).contains(&to);
    let target_is_fine = to_ours || to_file || (from_ours && free_of_ours);
    if !(from_ours || from_file) || !target_is_fine {
        return refuse(Errno::Badf);
    }
    if from == to {
        return Ok(0);
    }
    if from_ours {
        // It cannot fail: both numbers were looked at.
        if to_file {
            drop(files.take(to));
            host.release(to);
        }
        return errno(host.renumber(from, to));
    }
    match files.take(from) {
        Ok(file) => {
            host.release(from);
            host.displace(to);
            files.put(to, file);
            if to >= FIRST_FD {
                host.reserve(to);
            }
            Ok(0)
        }
        Err(errno) => refuse(errno),
    }
}

/// Reads or writes for the functions that do so on files, at a place of their own or at one that
/// they are passed. Where the answer goes is checked first, and written last.
fn move_bytes(
    ctx: &mut Ctx<'_>,
    writes: bool,
    fd: i32,
    iovecs: (i32, i32),
    place: Option<i64>,
    len_at: i32,
) -> Answer {
    let (fd, place) = (fd.cast_unsigned(), place.map(i64::cast_unsigned));
    let len_at = len_at.cast_unsigned();
    on_files(ctx, |files, memory| {
        memory.slice(len_at, 4)?;
        let iovecs =
            IovecArray::decode(memory, iovecs.0.cast_unsigned(), iovecs.1.cast_unsigned())?;
        let len = if writes {
            files.write(memory, fd, &iovecs, place)?
        } else {
            files.read(memory, fd, &iovecs, place)?
        };
        memory.write_u32(len_at, len)
    })
}

/// Functions on files alone, which a descriptor of the host's does not have.
pub(super) fn file_function(
    name: &str,
    store: &mut impl AsStoreMut,
    env: &FunctionEnv<Env>,
) -> Option<Function> {
    macro_rules! function {
        (|$files:ident, $memory:ident, $($param:ident: $ty:ty),*| $body:expr) => {
            Function::new_typed_with_env(
                store,
                env,
                |mut ctx: Ctx<'_>, $($param: $ty),*| -> Answer {
                    on_files(&mut ctx, |$files, $memory| $body)
                },
            )
        };
    }
    const fn at(fd: u32, path: u32, len: u32) -> At {
        At { fd, path, len }
    }
    Some(match name {
        "fd_advise" => {
            function!(
                |files, _memory, fd: u32, _offset: u64, _len: u64, advice: u32| {
                    files.advise(fd, advice)
                }
            )
        }
        "fd_allocate" => function!(|files, _memory, fd: u32, offset: u64, len: u64| {
            files.allocate(fd, offset, len)
        }),
        "fd_datasync" => {
            function!(|files, _memory, fd: u32| files.sync(fd, Rights::FD_DATASYNC))
        }
        "fd_sync" => function!(|files, _memory, fd: u32| files.sync(fd, Rights::FD_SYNC)),
        "fd_filestat_set_size" => {
            function!(|files, _memory, fd: u32, size: u64| files.set_size(fd, size))
        }
        "fd_filestat_set_times" => {
            function!(
                |files, _memory, fd: u32, accessed: u64, modified: u64, which: u32| {
                    files.set_times(fd, [accessed, modified], which)
                }
            )
        }
        "fd_prestat_get" => function!(|files, memory, fd: u32, prestat: u32| {
            memory.write_bytes(prestat, &files.prestat(fd)?.encode())
        }),
        "fd_prestat_dir_name" => function!(|files, memory, fd: u32, name: u32, len: u32| {
            let given = files.given_name(fd)?;
            if given.len() > len as usize {
                return Err(Errno::Nametoolong);
            }
            memory.write_bytes(name, given.as_bytes())
        }),
        "fd_readdir" => {
            function!(
                |files, memory, fd: u32, buf: u32, len: u32, from: u64, used: u32| {
                    memory.slice(used, 4)?;
                    let listed = files.list(memory, fd, (buf, len), from)?;
                    memory.write_u32(used, listed)
                }
            )
        }
        "path_create_directory" => function!(|files, memory, fd: u32, path: u32, len: u32| {
            files.create_directory(memory, at(fd, path, len))
        }),
        "path_filestat_get" => {
            function!(
                |files, memory, fd: u32, lookup: u32, path: u32, len: u32, stat: u32| {
                    let found = files.filestat_at(memory, at(fd, path, len), lookup)?;
                    memory.write_bytes(stat, &found.encode())
                }
            )
        }
        "path_filestat_set_times" => {
            function!(|files,
                       memory,
                       fd: u32,
                       lookup: u32,
                       path: u32,
                       len: u32,
                       accessed: u64,
                       modified: u64,
                       which: u32| {
                files.set_times_at(
                    memory,
                    at(fd, path, len),
                    lookup,
                    [accessed, modified],
                    which,
                )
            })
        }
        "path_link" => {
            function!(|files,
                       _memory,
                       fd: u32,
                       _lookup: u32,
                       _path: u32,
                       _len: u32,
                       to: u32,
                       _to_path: u32,
                       _to_len: u32| {
                files.refuse_link(&[
                    (fd, Rights::PATH_LINK_SOURCE),
                    (to, Rights::PATH_LINK_TARGET),
                ])
            })
        }
        "path_symlink" => {
            function!(|files,
                       _memory,
                       _target: u32,
                       _len: u32,
                       fd: u32,
                       _path: u32,
                       _path_len: u32| {
                files.refuse_link(&[(fd, Rights::PATH_SYMLINK)])
            })
        }
        "path_readlink" => {
            function!(|files,
                       memory,
                       fd: u32,
                       path: u32,
                       len: u32,
                       buf: u32,
                       room: u32,
                       used: u32| {
                memory.slice(used, 4)?;
                let len = files.read_link(memory, at(fd, path, len), (buf, room))?;
                memory.write_u32(used, len)
            })
        }
        "path_remove_directory" => function!(|files, memory, fd: u32, path: u32, len: u32| {
            files.remove_directory(memory, at(fd, path, len))
        }),
        "path_rename" => {
            function!(|files,
                       memory,
                       fd: u32,
                       path: u32,
                       len: u32,
                       to: u32,
                       to_path: u32,
                       to_len: u32| {
                files.rename(memory, at(fd, path, len), at(to, to_path, to_len))
            })
        }
        "path_unlink_file" => function!(|files, memory, fd: u32, path: u32, len: u32| {
            files.unlink_file(memory, at(fd, path, len))
        }),
        "path_open" => Function::new_typed_with_env(
            store,
            env,
            |mut ctx: Ctx<'_>,
             fd: u32,
             lookup: u32,
             path: u32,
             len: u32,
             how: u32,
             rights: u64,
             inheriting: u64,
             flags: u32,
             opened: u32|
             -> Answer {
                let opening = Opening {
                    lookup,
                    how,
                    rights,
                    inheriting,
                    flags,
                };
                errno(lend(&mut ctx, |host, files, memory| {
                    host.check_stop()?;
                    // An answer that could not be written would leave a file open that nobody knows of.
                    memory.slice(opened, 4)?;
                    let number =
                        files.open(memory, At { fd, path, len }, opening, |fd| host.owns(fd))?;
                    Ok(memory.write_u32(opened, number)?)
                }))
            },
        ),
        _ => return None,
    })
}

#[allow(
    clippy::too_many_lines,
    reason = "one entry a function, in the order of the interface"
)]
pub(super) fn wasi_function(
    name: &str,
    store: &mut impl AsStoreMut,
    env: &FunctionEnv<Env>,
) -> Option<Function> {
    /// Makes a function of the engine from a closure.
    macro_rules! function {
        ($closure:expr) => {
            Function::new_typed_with_env(store, env, $closure)
        };
    }
    Some(match name {
        "clock_res_get" => function!(|mut ctx: Ctx<'_>, id: i32, at: i32| -> Answer {
            call(&mut ctx, |host, memory| {
                let resolution = host.clock_resolution(id.cast_unsigned())?;
                Ok(memory.write_u64(at.cast_unsigned(), resolution)?)
            })
        }),
        "clock_time_get" => {
            function!(
                |mut ctx: Ctx<'_>, id: i32, _precision: i64, at: i32| -> Answer {
                    call(&mut ctx, |host, memory| {
                        let now = host.clock_time(id.cast_unsigned())?;
                        Ok(memory.write_u64(at.cast_unsigned(), now)?)
                    })
                }
            )
        }
        "fd_close" => function!(|mut ctx: Ctx<'_>, fd: i32| -> Answer {
            fd_close(&mut ctx, fd.cast_unsigned())
        }),
        "fd_fdstat_get" => function!(|mut ctx: Ctx<'_>, fd: i32, stat: i32| -> Answer {
            if !owns(&ctx, fd) {
                return on_files(&mut ctx, |files, memory| {
                    let fdstat = files.fdstat(fd.cast_unsigned())?;
                    memory.write_bytes(stat.cast_unsigned(), &fdstat.encode())
                });
            }
            call(&mut ctx, |host, memory| {
                let fdstat = host.fdstat(fd.cast_unsigned())?;
                Ok(memory.write_bytes(stat.cast_unsigned(), &fdstat.encode())?)
            })
        }),
        "fd_fdstat_set_flags" => function!(|mut ctx: Ctx<'_>, fd: i32, flags: i32| -> Answer {
            if !owns(&ctx, fd) {
                return on_files(&mut ctx, |files, _| {
                    files.set_flags(fd.cast_unsigned(), flags.cast_unsigned())
                });
            }
            call(&mut ctx, |host, _| {
                host.set_flags(fd.cast_unsigned(), flags.cast_unsigned())
            })
        }),
        "fd_fdstat_set_rights" => {
            function!(
                |mut ctx: Ctx<'_>, fd: u32, base: u64, inheriting: u64| -> Answer {
                    if !ctx.data().host.owns(fd) {
                        return on_files(&mut ctx, |files, _| {
                            files.set_rights(fd, base, inheriting)
                        });
                    }
                    call(&mut ctx, |host, _| host.set_rights(fd, base, inheriting))
                }
            )
        }
        "fd_filestat_get" => function!(|mut ctx: Ctx<'_>, fd: i32, stat: i32| -> Answer {
            if !owns(&ctx, fd) {
                return on_files(&mut ctx, |files, memory| {
                    let filestat = files.filestat(fd.cast_unsigned())?;
                    memory.write_bytes(stat.cast_unsigned(), &filestat.encode())
                });
            }
            call(&mut ctx, |host, memory| {
                let filestat = host.filestat(fd.cast_unsigned())?;
                Ok(memory.write_bytes(stat.cast_unsigned(), &filestat.encode())?)
            })
        }),
        "fd_pread" => function!(|mut ctx: Ctx<'_>,
                                 fd: i32,
                                 iovs: i32,
                                 len: i32,
                                 at: i64,
                                 done: i32|
         -> Answer {
            if !owns(&ctx, fd) {
                return move_bytes(&mut ctx, false, fd, (iovs, len), Some(at), done);
            }
            refuse(Errno::Spipe)
        }),
        "fd_pwrite" => function!(|mut ctx: Ctx<'_>,
                                  fd: i32,
                                  iovs: i32,
                                  len: i32,
                                  at: i64,
                                  done: i32|
         -> Answer {
            if !owns(&ctx, fd) {
                return move_bytes(&mut ctx, true, fd, (iovs, len), Some(at), done);
            }
            refuse(Errno::Spipe)
        }),
        "fd_read" => {
            function!(
                |mut ctx: Ctx<'_>, fd: i32, iovs: i32, len: i32, done: i32| -> Answer {
                    if !owns(&ctx, fd) {
                        return move_bytes(&mut ctx, false, fd, (iovs, len), None, done);
                    }
                    receive(&mut ctx, fd, (iovs, len), RiFlags::default(), done, None)
                }
            )
        }
        "fd_renumber" => {
            function!(|mut ctx: Ctx<'_>, from: i32, to: i32| -> Answer {
                fd_renumber(&mut ctx, from.cast_unsigned(), to.cast_unsigned())
            })
        }
        "fd_seek" => {
            function!(
                |mut ctx: Ctx<'_>, fd: i32, offset: i64, whence: i32, at: i32| -> Answer {
                    if !owns(&ctx, fd) {
                        return on_files(&mut ctx, |files, memory| {
                            memory.slice(at.cast_unsigned(), 8)?;
                            let place =
                                files.seek(fd.cast_unsigned(), offset, whence.cast_unsigned())?;
                            memory.write_u64(at.cast_unsigned(), place)
                        });
                    }
                    refuse(Errno::Spipe)
                }
            )
        }
        "fd_tell" => function!(|mut ctx: Ctx<'_>, fd: i32, at: i32| -> Answer {
            if !owns(&ctx, fd) {
                return on_files(&mut ctx, |files, memory| {
                    let place = files.seek(fd.cast_unsigned(), 0, 1)?;
                    memory.write_u64(at.cast_unsigned(), place)
                });
            }
            refuse(Errno::Spipe)
        }),
        "fd_write" => {
            function!(
                |mut ctx: Ctx<'_>, fd: i32, iovs: i32, len: i32, done: i32| -> Answer {
                    if !owns(&ctx, fd) {
                        return move_bytes(&mut ctx, true, fd, (iovs, len), None, done);
                    }
                    send(&mut ctx, fd, (iovs, len), done)
                }
            )
        }
        "poll_oneoff" => {
            function!(
                |mut ctx: Ctx<'_>, subs: i32, events: i32, len: i32, done: i32| -> Answer {
                    poll_oneoff(&mut ctx, subs, events, len, done)
                }
            )
        }
        "proc_exit" => function!(|_: Ctx<'_>, code: i32| -> Result<(), RuntimeError> {
            Err(unwind(Unwind::Exit(code)))
        }),
        // A guest has no process to signal.
        "proc_raise" => function!(|_: Ctx<'_>, _: i32| -> Answer { refuse(Errno::Nosys) }),
        "random_get" => function!(|mut ctx: Ctx<'_>, at: i32, len: i32| -> Answer {
            call(&mut ctx, |host, memory| {
                host.random(memory.slice_mut(at.cast_unsigned(), len.cast_unsigned())?)
            })
        }),
        "sched_yield" => {
            function!(|mut ctx: Ctx<'_>| -> Answer { call(&mut ctx, |host, _| host.sched_yield()) })
        }
        "sock_accept" => function!(|ctx: Ctx<'_>, fd: i32, _: i32, _: i32| -> Answer {
            // None of ours listens, and a file cannot.
            if owns(&ctx, fd) {
                refuse(Errno::Inval)
            } else {
                no_socket(&ctx, fd)
            }
        }),
        "sock_recv" => {
            function!(|mut ctx: Ctx<'_>,
                       fd: i32,
                       iovs: i32,
                       len: i32,
                       flags: i32,
                       done: i32,
                       out: i32|
             -> Answer {
                if !owns(&ctx, fd) {
                    return no_socket(&ctx, fd);
                }
                let Some(flags) = u16::try_from(flags).ok().and_then(RiFlags::from_bits) else {
                    return refuse(Errno::Inval);
                };
                receive(&mut ctx, fd, (iovs, len), flags, done, Some(out))
            })
        }
        "sock_send" => {
            function!(|mut ctx: Ctx<'_>,
                       fd: i32,
                       iovs: i32,
                       len: i32,
                       _flags: i32,
                       done: i32|
             -> Answer {
                if !owns(&ctx, fd) {
                    return no_socket(&ctx, fd);
                }
                send(&mut ctx, fd, (iovs, len), done)
            })
        }
        "sock_shutdown" => function!(|mut ctx: Ctx<'_>, fd: i32, how: i32| -> Answer {
            if !owns(&ctx, fd) {
                return no_socket(&ctx, fd);
            }
            call(&mut ctx, |host, _| {
                host.shutdown(fd.cast_unsigned(), how.cast_unsigned())
            })
        }),
        _ => return None,
    })
}
