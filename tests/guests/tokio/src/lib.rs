//! Pass-through on tokio: its event loop, one task per direction and one for control, half-close,
//! and all roles but dial_fixed.

use std::cell::RefCell;
use std::io;
use std::net::TcpStream as StdStream;
use std::os::fd::FromRawFd;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::TcpStream;
use tokio::runtime::Builder;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    safe fn water_dial_fixed() -> i32;
    safe fn water_accept() -> i32;
}

const EIO: i32 = 29;
const ECANCELED: i32 = 11;
const EINVAL: i32 = 28;

#[derive(Default)]
struct State {
    near: Option<StdStream>,
    far: Option<StdStream>,
    control: Option<StdStream>,
}

thread_local! {
    static STATE: RefCell<State> = RefCell::default();
}

/// A stream for a descriptor from the host, or the host's error.
fn stream(fd: i32) -> Result<StdStream, i32> {
    if fd < 0 {
        return Err(fd);
    }
    // SAFETY: the host has opened it for this module, and nothing else here owns it.
    let stream = unsafe { StdStream::from_raw_fd(fd) };
    stream.set_nonblocking(true).map_err(|error| number(&error))?;
    Ok(stream)
}

fn number(error: &io::Error) -> i32 {
    -error.raw_os_error().unwrap_or(EIO)
}

/// Keeps both sides. Returns the descriptor of the far one, or the error.
fn open(near: i32, far: impl FnOnce() -> i32) -> i32 {
    let opened = stream(near).and_then(|near| {
        let fd = far();
        Ok((near, stream(fd)?, fd))
    });
    match opened {
        Ok((near, far, fd)) => {
            STATE.with_borrow_mut(|state| {
                state.near = Some(near);
                state.far = Some(far);
            });
            fd
        }
        Err(number) => number,
    }
}

#[unsafe(no_mangle)]
extern "C" fn watm_init_v1() -> i32 {
    0
}

#[unsafe(no_mangle)]
extern "C" fn watm_ctrlpipe_v1(fd: i32) -> i32 {
    match stream(fd) {
        Ok(control) => {
            STATE.with_borrow_mut(|state| state.control = Some(control));
            0
        }
        Err(number) => number,
    }
}

#[unsafe(no_mangle)]
extern "C" fn watm_dial_v1(internal: i32) -> i32 {
    open(internal, || water_dial_fixed())
}

#[unsafe(no_mangle)]
extern "C" fn watm_accept_v1(internal: i32) -> i32 {
    open(internal, || water_accept())
}

#[unsafe(no_mangle)]
extern "C" fn watm_associate_v1() -> i32 {
    match open(water_accept(), || water_dial_fixed()) {
        ..0 => -EIO,
        _ => 0,
    }
}

#[unsafe(no_mangle)]
extern "C" fn watm_start_v1() -> i32 {
    let state = STATE.take();
    let (Some(near), Some(far), Some(control)) = (state.near, state.far, state.control) else {
        return -EINVAL;
    };
    let runtime = match Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return number(&error),
    };
    match runtime.block_on(carry(near, far, control)) {
        Ok(result) => result,
        Err(error) => number(&error),
    }
}

async fn carry(near: StdStream, far: StdStream, control: StdStream) -> io::Result<i32> {
    let near = TcpStream::from_std(near)?;
    let far = TcpStream::from_std(far)?;
    let mut control = TcpStream::from_std(control)?;
    let (mut near_in, mut near_out) = near.into_split();
    let (mut far_in, mut far_out) = far.into_split();
    let out = tokio::spawn(async move {
        copy(&mut near_in, &mut far_out).await?;
        far_out.shutdown().await
    });
    let back = tokio::spawn(async move {
        copy(&mut far_in, &mut near_out).await?;
        near_out.shutdown().await
    });
    let (told, mut cancelled) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        if control.read(&mut [0]).await.is_ok() {
            let _ = told.send(());
        }
    });
    let mut both = std::pin::pin!(async {
        out.await.map_err(io::Error::other)??;
        back.await.map_err(io::Error::other)??;
        io::Result::Ok(0)
    });
    std::future::poll_fn(|context| {
        use std::future::Future;
        use std::pin::Pin;
        use std::task::Poll;
        if let Poll::Ready(result) = both.as_mut().poll(context) {
            return Poll::Ready(result);
        }
        match Pin::new(&mut cancelled).poll(context) {
            Poll::Ready(Ok(())) => Poll::Ready(Ok(-ECANCELED)),
            _ => Poll::Pending,
        }
    })
    .await
}
