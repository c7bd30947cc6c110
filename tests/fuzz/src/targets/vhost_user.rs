//! What a process says that serves a virtio device, and is not to be believed.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use backends::vhost_user::{FrontEnd, Options, Place};
use devices_core::Waker;
use devices_core::block::Segment;
use devices_core::vhost_user::{Needs, Stop, Submitted, VhostUser};
use hypervisor::memory;

use super::outcome;

/// What a socket takes at once.
const MOST: usize = 48 << 10;
/// More than it ever takes.
const SOON: Duration = Duration::from_secs(10);

/// The first byte: what is asked of the device meanwhile. The rest: all that the other says, before it goes.
pub fn run(bytes: &[u8]) -> u64 {
    let Some((&first, said)) = bytes.split_first() else { return 0 };
    let (ours, mut theirs) = UnixStream::pair().expect("the host has sockets");
    theirs.write_all(&said[..said.len().min(MOST)]).expect("the socket takes it");
    theirs.shutdown(Shutdown::Write).expect("it is connected");
    let ram = memory::new_shared_ram(1 << 16, 0).expect("the host has memory");
    let needs = Needs { queues: 2, queue_size: 8, config: 16, features: 0xff, stateful: first & 1 != 0 };
    let options = Options {
        place: Place::There(ours.into()),
        at: "fuzz".into(),
        needs,
        ram: memory::shared(&ram).expect("it is a file"),
        patience: SOON,
    };
    let front = match FrontEnd::connect(options, Waker::default(), 0) {
        Ok(front) => front,
        Err(error) => return outcome(first & 1, &error.to_string()),
    };
    assert_eq!(front.features() & !0xff, 0, "features of another type");
    front.write_config(usize::from(first), &[first; 3]);
    if first & 2 != 0 {
        front.restore(vec![first; 100]);
    }
    front.start(u64::MAX);
    let segment = [Segment { gpa: 0, len: 64 }];
    let given = front.submit(front.incarnation(), 1, &segment, &segment);
    assert!(given != Submitted::TooLong);
    front.kick(1);
    if first & 4 != 0 {
        front.stop(if first & 8 != 0 { Stop::Save } else { Stop::Reset });
    }
    let begun = Instant::now();
    while front.is_connected() {
        assert!(front.used().is_none(), "nobody has used anything");
        assert!(begun.elapsed() < SOON, "it has gone, and is waited for");
        std::thread::yield_now();
    }
    while !front.is_stopped() {
        assert!(begun.elapsed() < SOON, "it has gone, and has not stopped");
        std::thread::yield_now();
    }
    let mut config = [0; 16];
    front.read_config(0, &mut config);
    outcome((first & 15, front.features() != 0, config[0] != 0), &format!("{:?}", front.saved()))
}

/// One message.
fn message(request: u32, body: &[u8]) -> Vec<u8> {
    [&[request, 5, body.len() as u32].map(u32::to_ne_bytes).concat(), body].concat()
}

pub fn seeds() -> Vec<Vec<u8>> {
    let number = |request: u32, value: u64| message(request, &value.to_ne_bytes());
    let features = number(1, 1 << 32 | 1 << 30 | 1 << 28 | 0x21);
    let config = message(24, &[[0u8; 12].as_slice(), &[7; 16]].concat());
    // All that is asked before the device begins.
    let plain = [features.clone(), number(15, 1 << 9), config.clone()].concat();
    let all = 1 | 1 << 3 | 1 << 5 | 1 << 9 | 1 << 13 | 1 << 19;
    let yes = |requests: &[u32]| requests.iter().flat_map(|request| number(*request, 0)).collect::<Vec<u8>>();
    let told = [features.clone(), number(15, all), number(17, 2), yes(&[3, 21]), config].concat();
    let ring = [8, 10, 9, 13, 14, 12];
    let begun = yes(&[&[25, 2, 5], &ring[..], &ring, &[18, 18]].concat());
    let bases = [message(11, &[0; 8]), message(11, &[1; 8])].concat();
    let halted = [bases, number(34, 0)].concat();
    let state = [number(42, 0x100), number(43, 0)].concat();
    let seed = |first: u8, parts: &[&[u8]]| [&[first][..], &parts.concat()].concat();
    vec![
        seed(0, &[&plain]),
        seed(4, &[&plain, &halted]),
        seed(0, &[&told, &begun]),
        seed(4, &[&told, &begun, &halted]),
        seed(13, &[&told, &begun, &halted, &state]),
        seed(3, &[&told, &state, &begun]),
        seed(0, &[&features]),
        seed(0, &[&number(1, 1 << 30)]),
        seed(0, &[&number(1, 1 << 32), &number(15, 0)]),
        seed(0, &[&message(1, &[0; 4096])]),
    ]
}
