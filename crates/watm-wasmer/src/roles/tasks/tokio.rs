//! The traits of tokio.

#[cfg(any(target_os = "linux", target_os = "android"))]
mod hub;
/// Elsewhere the worker wakes tasks itself.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod hub {
    use std::task::Waker;

    pub(super) fn near(task: &Waker) -> Waker {
        task.clone()
    }
}

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::hub::near;
use super::{AsyncConn, AsyncReadHalf, AsyncWriteHalf, shut_down};
use crate::roles::conn::Conn;

fn poll_read(conn: &Conn, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
    let len = ready!(conn.read_for(&near(cx.waker()), buf.initialize_unfilled()))?;
    buf.advance(len);
    Poll::Ready(Ok(()))
}

macro_rules! reads {
    ($($name:ident),*) => {$(
        impl AsyncRead for $name {
            fn poll_read(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                poll_read(&self.0, cx, buf)
            }
        }
    )*};
}

macro_rules! writes {
    ($($name:ident),*) => {$(
        impl AsyncWrite for $name {
            fn poll_write(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.0.write_for(&near(cx.waker()), &[IoSlice::new(buf)])
            }

            fn poll_write_vectored(
                self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                bufs: &[IoSlice<'_>],
            ) -> Poll<io::Result<usize>> {
                self.0.write_for(&near(cx.waker()), bufs)
            }

            fn is_write_vectored(&self) -> bool {
                true
            }

            /// Does nothing: the module has what was written as soon as it reads.
            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            /// Ends writing, and does not wait: `AsyncConn::close` does.
            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                shut_down(&self.0);
                Poll::Ready(Ok(()))
            }
        }
    )*};
}

reads!(AsyncConn, AsyncReadHalf);
writes!(AsyncConn, AsyncWriteHalf);
