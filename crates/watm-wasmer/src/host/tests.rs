//! What the tests in this folder share: a host with everything that a guest has.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use watm_abi::{
    Errno, Event, EventType, FdFlags, GuestMemory, IovecArray, RiFlags, Rights, Subscription,
    SubscriptionKind,
};

use crate::channel::link::{Link, Stage};
use crate::channel::pipe::{ApplicationEnd, pipe};
use crate::host::descriptor::{Abort, Call, Descriptor, Kind};
use crate::host::file::OpenFile;
use crate::host::log_lines::LogTarget;
use crate::host::plain::Limits;
use crate::host::stdio::{StdStream, Stdio};
use crate::host::tree::{ROOT, Tree};
use crate::host::{Ends, Host, HostSetup, Internal};
use crate::net::connect::Outgoing;
use crate::net::reactor::Reactor;

/// Guest memory with one iovec record at address 0 for the bytes from address 1024 on.
pub(super) fn memory(len: u32) -> Vec<u8> {
    let mut memory = vec![0; 256 * 1024];
    memory.write_u32(0, 1024).expect("in memory");
    memory.write_u32(4, len).expect("in memory");
    memory
}

pub(super) fn iovecs(memory: &[u8]) -> IovecArray {
    IovecArray::decode(memory, 0, 1).expect("an array")
}

/// A host with its internal and control descriptors, the application's end, and a network
/// descriptor with its peer. The transport is set up.
pub(super) struct Fixture {
    pub(super) host: Host,
    pub(super) link: Arc<Link>,
    pub(super) app: ApplicationEnd,
    pub(super) peer: UnixStream,
    pub(super) internal: u32,
    pub(super) control: u32,
    pub(super) net: u32,
}

pub(super) fn setup() -> HostSetup {
    HostSetup {
        outgoing: Outgoing::within(Duration::from_secs(20)),
        arguments: Arc::default(),
        directories: Vec::new(),
        std_streams: StdStream::all(Stdio::Null, &Arc::new(LogTarget::of("test"))),
        descriptor_limit: 4,
        keepalive: None,
        limits: Limits {
            patience: Duration::from_secs(20),
            grace: Duration::from_secs(20),
            naming: Duration::from_secs(20),
        },
        hook: None,
    }
}

pub(super) fn fixture() -> Fixture {
    fixture_with(setup(), None)
}

/// The same, with another application's side in place of the pipe. The end `app` leads nowhere
/// then.
pub(super) fn fixture_with(setup: HostSetup, internal: Option<Internal>) -> Fixture {
    let link = Arc::new(Link::default());
    let (app, guest) = pipe(Arc::clone(&link));
    let reactor = Reactor::new(&link).expect("a reactor");
    let mut host = Host::new(Arc::clone(&link), reactor, setup);
    let (ours, peer) = UnixStream::pair().expect("a pair");
    peer.set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a timeout");
    host.connect(Ends {
        fixed: None,
        incoming: Some(ours.into()),
        internal: internal.unwrap_or(Internal::Pipe(guest)),
    });
    let tree = Tree::default();
    // Two files. The guest may not poll the second.
    for (fd, rights) in [
        (40, Rights::POLL_FD_READWRITE | Rights::FD_READ),
        (41, Rights::NONE),
    ] {
        let file = OpenFile::Memory {
            bytes: (*b"content").into(),
            stat: tree.filestat(ROOT),
            place: 0,
        };
        let file = Descriptor {
            rights,
            ..Descriptor::new(Kind::File(Box::new(file)))
        };
        host.descriptors.give(fd, file);
    }
    let internal = host.open_internal().expect("a descriptor");
    let control = host.open_control().expect("a descriptor");
    let net = host.water_accept().expect("a descriptor");
    assert!(link.advance(Stage::SettingUp, Stage::Established));
    Fixture {
        host,
        link,
        app,
        peer,
        internal,
        control,
        net,
    }
}

impl Fixture {
    pub(super) fn nonblocking(&mut self) {
        for fd in [self.internal, self.control, self.net] {
            self.host
                .descriptors
                .set_flags(fd, u32::from(FdFlags::NONBLOCK.bits()))
                .expect("a flag");
        }
    }

    /// Makes the guest poll for room to write, so that its writes can be refused.
    pub(super) fn polls_for_room(&mut self) {
        let kinds = [SubscriptionKind::FdWrite { fd: self.net }];
        assert_eq!(self.poll(&kinds).expect("room").len(), 1);
    }

    /// Whether a poll that does not wait reports data or an end.
    pub(super) fn is_readable(&mut self, fd: u32) -> bool {
        let kinds = [SubscriptionKind::FdRead { fd }, clock(0)];
        let events = self.poll(&kinds).expect("events");
        events.iter().any(|event| event.0 == 0)
    }

    /// Moves pieces like a guest whose writes follow its reads, until there is nothing to read. No
    /// write may be refused or shortened.
    #[track_caller]
    pub(super) fn pump(&mut self, from: u32, to: u32, len: u32) -> usize {
        let mut moved = 0;
        loop {
            match self.read(from, len) {
                Ok(piece) if piece.is_empty() => return moved,
                Ok(piece) => {
                    assert_eq!(self.write(to, &piece), Ok(piece.len() as u32));
                    moved += piece.len();
                }
                Err(abort) => {
                    assert_eq!(abort, AGAIN);
                    return moved;
                }
            }
        }
    }

    pub(super) fn read(&mut self, fd: u32, len: u32) -> Call<Vec<u8>> {
        let mut memory = memory(len);
        let array = iovecs(&memory);
        self.host.enter();
        let len = self
            .host
            .read(&mut memory[..], fd, &array, RiFlags::default())?;
        Ok(memory[1024..1024 + len as usize].to_vec())
    }

    pub(super) fn write(&mut self, fd: u32, data: &[u8]) -> Call<u32> {
        let mut memory = memory(data.len() as u32);
        memory[1024..1024 + data.len()].copy_from_slice(data);
        let array = iovecs(&memory);
        self.host.enter();
        self.host.write(&memory[..], fd, &array)
    }

    /// Polls, and returns userdata, error, type and hang-up of each event.
    pub(super) fn poll(
        &mut self,
        kinds: &[SubscriptionKind],
    ) -> Call<Vec<(u64, Errno, EventType, bool)>> {
        let mut memory = memory(0);
        for (i, kind) in kinds.iter().enumerate() {
            let record = Subscription {
                userdata: i as u64,
                kind: *kind,
            }
            .encode();
            memory
                .write_bytes(4096 + 48 * i as u32, &record)
                .expect("in memory");
        }
        memory[65536..65536 + 32 * kinds.len()].fill(0xee);
        let count = kinds.len() as u32;
        self.host.enter();
        let ready = self.host.poll(&mut memory[..], 4096, 65536, count)?;
        let rest = &memory[65536 + 32 * ready as usize..65536 + 32 * kinds.len()];
        assert!(
            rest.iter().all(|byte| *byte == 0xee),
            "slots beyond the events are untouched"
        );
        let event = |i: u32| {
            let record = memory.read_array(65536 + 32 * i).expect("in memory");
            let event = Event::decode(&record).expect("an event");
            (event.userdata, event.error, event.kind, event.hangup)
        };
        Ok((0..ready).map(event).collect())
    }
}

pub(super) const AGAIN: Abort = Abort::Errno(Errno::Again);

pub(super) fn clock(nanos: u64) -> SubscriptionKind {
    SubscriptionKind::Clock {
        id: 1,
        timeout: nanos,
        precision: 0,
        absolute: false,
    }
}

/// Fills the buffer to the network until a write of 60,000 bytes no longer fits.
pub(super) fn fill_net(f: &mut Fixture) {
    let net = f.net;
    fill(f, net);
}

/// Does so for any descriptor. Returns the number of bytes written.
pub(super) fn fill(f: &mut Fixture, fd: u32) -> usize {
    let piece = vec![5; 60_000];
    f.nonblocking();
    f.polls_for_room();
    let mut sent = 0;
    while f.write(fd, &piece).is_ok() {
        sent += piece.len();
    }
    sent
}
