//! A bad network cable. It carries Ethernet frames between two interfaces, and loses, delays,
//! reorders, duplicates and damages some of them. It runs until standard input ends.
//! `tests/faulty-network` puts it between two network namespaces.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command tells what it found"
)]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use socket2::{Domain, Protocol, SockAddr, SockAddrStorage, Socket, Type};

/// The longest frame, without any offload.
const FRAME: usize = 65536;

/// Carries frames between two interfaces, badly.
#[derive(Debug, Parser)]
struct Args {
    /// One interface
    #[arg(long)]
    from: String,

    /// The other
    #[arg(long)]
    to: String,

    /// Frames in a thousand that are lost
    #[arg(long, default_value_t = 0)]
    loss: u64,

    /// Frames in a thousand that are doubled
    #[arg(long, default_value_t = 0)]
    double: u64,

    /// Frames in a thousand of which one bit is changed
    #[arg(long, default_value_t = 0)]
    damage: u64,

    /// Milliseconds that each frame is held back
    #[arg(long, default_value_t = 0)]
    delay: u64,

    /// Milliseconds more, at random: frames overtake each other
    #[arg(long, default_value_t = 0)]
    jitter: u64,

    /// What the choices follow from
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Debug, Default)]
struct Counts {
    carried: u64,
    lost: u64,
    doubled: u64,
    damaged: u64,
}

/// A delayed frame. It is ordered only by its time.
struct Held {
    when: Instant,
    to: usize,
    frame: Vec<u8>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(counts) => {
            println!("wire: {counts:?}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("wire: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<Counts> {
    let ends = [open(&args.from)?, open(&args.to)?];
    let mut held = BinaryHeap::new();
    let mut counts = Counts::default();
    let mut random = args.seed;
    let mut buf = vec![MaybeUninit::uninit(); FRAME];
    loop {
        let next: Option<&Reverse<Held>> = held.peek();
        let wait = next.map(|next| next.0.when.saturating_duration_since(Instant::now()));
        let ready = wait_for(&ends, wait)?;
        if ready[2] {
            return Ok(counts);
        }
        for from in 0..2 {
            if !ready[from] {
                continue;
            }
            // While an interface is down, each look gives an error, and there is nothing to do.
            while let Ok(len) = ends[from].recv(&mut buf) {
                // SAFETY: `recv` has initialised `len` bytes.
                let frame = unsafe { std::slice::from_raw_parts(buf.as_ptr().cast::<u8>(), len) };
                let mut frame = frame.to_vec();
                let mut happens = |in_a_thousand| below(&mut random, 1000) < in_a_thousand;
                if happens(args.loss) {
                    counts.lost += 1;
                    continue;
                }
                let doubled = happens(args.double);
                if happens(args.damage) {
                    let place = below(&mut random, len as u64);
                    if let Some(byte) = frame.get_mut(usize::try_from(place).unwrap_or(0)) {
                        *byte ^= 1 << below(&mut random, 8);
                    }
                    counts.damaged += 1;
                }
                counts.carried += 1;
                counts.doubled += u64::from(doubled);
                for _ in 0..=u8::from(doubled) {
                    let jitter = below(&mut random, args.jitter * 1000 + 1);
                    let delay = Duration::from_millis(args.delay) + Duration::from_micros(jitter);
                    held.push(Reverse(Held {
                        when: Instant::now() + delay,
                        to: 1 - from,
                        frame: frame.clone(),
                    }));
                }
            }
        }
        while held
            .peek()
            .is_some_and(|next| next.0.when <= Instant::now())
        {
            if let Some(Reverse(held)) = held.pop() {
                // A frame that an interface does not take is lost, as on any network.
                let _ = ends[held.to].send(&held.frame);
            }
        }
    }
}

/// Opens a socket for every new frame of an interface.
fn open(interface: &str) -> io::Result<Socket> {
    let protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or(0).to_be();
    let socket = Socket::new(
        Domain::PACKET,
        Type::RAW,
        Some(Protocol::from(i32::from(protocol))),
    )
    .map_err(|error| io::Error::other(format!("no raw socket, are you root? {error}")))?;
    let name = CString::new(interface)?;
    // SAFETY: the name ends with a null byte.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    if index == 0 {
        return Err(io::Error::other(format!(
            "there is no interface {interface}"
        )));
    }
    let mut storage = SockAddrStorage::zeroed();
    let address = libc::sockaddr_ll {
        sll_family: u16::try_from(libc::AF_PACKET).unwrap_or(0),
        sll_protocol: protocol,
        sll_ifindex: i32::try_from(index).unwrap_or(0),
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 0,
        sll_addr: [0; 8],
    };
    let len = libc::socklen_t::try_from(size_of_val(&address)).unwrap_or(0);
    // SAFETY: the storage is large enough for every kind of address. The block initialises an
    // address in it and passes that address's length.
    let address = unsafe {
        *storage.view_as::<libc::sockaddr_ll>() = address;
        SockAddr::new(storage, len)
    };
    socket.bind(&address)?;
    // Ignores our own outgoing frames.
    let on: libc::c_int = 1;
    // SAFETY: the pointer and the length describe a local int.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_PACKET,
            libc::PACKET_IGNORE_OUTGOING,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        );
    }
    socket.set_recv_buffer_size(8 << 20)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Returns whether each of the two sockets has a frame, and whether standard input has ended.
fn wait_for(ends: &[Socket; 2], limit: Option<Duration>) -> io::Result<[bool; 3]> {
    let poll = |fd, events| libc::pollfd {
        fd,
        events,
        revents: 0,
    };
    let mut fds = [
        poll(ends[0].as_raw_fd(), libc::POLLIN),
        poll(ends[1].as_raw_fd(), libc::POLLIN),
        poll(libc::STDIN_FILENO, libc::POLLIN),
    ];
    let millis = limit.map_or(-1, |limit| {
        libc::c_int::try_from(limit.as_micros().div_ceil(1000)).unwrap_or(libc::c_int::MAX)
    });
    // SAFETY: the pointer and the count describe the local array.
    let result = unsafe { libc::poll(fds.as_mut_ptr(), 3, millis) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    if fds[..2].iter().any(|fd| fd.revents & libc::POLLERR != 0) {
        // `poll` reports an interface that is down without end.
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(fds.map(|fd| fd.revents != 0))
}

/// A number below `end`.
fn below(random: &mut u64, end: u64) -> u64 {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *random;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % end.max(1)
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.when == other.when
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.when.cmp(&other.when)
    }
}
