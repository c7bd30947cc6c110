//! The front end against back ends that do what they should, and such that do not.

mod back_end;

use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{OnceLock, Weak};

use devices_core::Wake;
use hypervisor::GuestRam;
use hypervisor::memory;

use super::*;
use back_end::{BackEnd, FEATURES};

const NEEDS: Needs = Needs { queues: 2, queue_size: 8, config: 16, features: 0x1f, stateful: true };
const SOON: Duration = Duration::from_secs(20);

/// What was carried out, taken on the thread that wakes.
struct Taking {
    front: Weak<FrontEnd>,
    used: Mutex<Vec<Used>>,
}

/// A device with a back end.
struct Bench {
    front: Arc<FrontEnd>,
    /// What a device that looks when it is woken takes.
    taken: Arc<OnceLock<Taking>>,
    ram: GuestRam,
    woken: Receiver<Wake>,
    path: PathBuf,
    listener: Option<UnixListener>,
    _folder: tempfile::TempDir,
}

fn options(path: &Path, place: Place, ram: &GuestRam) -> Options {
    let ram = memory::shared(ram).unwrap();
    Options { place, at: path.display().to_string(), needs: NEEDS, ram, patience: SOON }
}

/// A back end that has been asked what it is.
fn greeted(peer: UnixStream) -> BackEnd {
    let mut back = BackEnd::new(peer);
    back.greet();
    back
}

/// A device that connects, and comes again.
fn connecting(change: impl FnOnce(&mut Options)) -> (Bench, BackEnd) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    // Above 4 GiB too.
    let ram = memory::new_shared_ram(1 << 20, 1 << 20).unwrap();
    let again = Some(Duration::from_millis(1));
    let mut options = options(&path, Place::Connect(Box::new(Direct(path.clone())), again), &ram);
    change(&mut options);
    let (sender, woken) = channel();
    let taken = Arc::new(OnceLock::<Taking>::new());
    let taking = taken.clone();
    let waker = Waker::calling(move |why| {
        if let Some(Taking { front, used }) = taking.get() {
            let front = front.upgrade();
            used.lock().unwrap().extend(std::iter::from_fn(|| front.as_ref()?.used()));
        }
        let _ = sender.send(why);
    });
    let (front, back) = std::thread::scope(|scope| {
        let back = scope.spawn(|| greeted(listener.accept().unwrap().0));
        (FrontEnd::connect(options, waker, 3).unwrap(), back.join().unwrap())
    });
    let front = Arc::new(front);
    (Bench { front, taken, ram, woken, path, listener: Some(listener), _folder: folder }, back)
}

impl Bench {
    /// Waits until that holds, which the device is woken for.
    fn when<T>(&self, mut what: impl FnMut(&FrontEnd) -> Option<T>) -> T {
        loop {
            if let Some(value) = what(&self.front) {
                return value;
            }
            assert_eq!(self.woken.recv_timeout(SOON), Ok(Wake::Backend(3)));
        }
    }

    fn submit(&self, queue: u16, readable: &[Segment], writable: &[Segment]) -> Submitted {
        self.front.submit(self.front.incarnation(), queue, readable, writable)
    }

    fn used(&self) -> Used {
        self.when(|front| front.used())
    }

    /// The driver is there, and the back end is told.
    fn begin(&self, back: &mut BackEnd) {
        let before = self.front.incarnation();
        self.front.start(1 | 1 << 32 | 1 << 29);
        back.run();
        self.when(|front| (front.incarnation() != before).then_some(()));
    }

    fn poke(&self, gpa: u64, data: &[u8]) {
        assert!(memory::write(&self.ram, gpa, data));
    }

    fn peek(&self, gpa: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        assert!(memory::read(&self.ram, gpa, &mut data));
        data
    }

    /// Another back end comes.
    fn another(&self) -> BackEnd {
        greeted(self.listener.as_ref().unwrap().accept().unwrap().0)
    }
}

fn segment(gpa: u64, len: u32) -> Segment {
    Segment { gpa, len }
}

fn token(submitted: Submitted) -> u16 {
    match submitted {
        Submitted::Token(token) => token,
        other => panic!("{other:?}"),
    }
}

const HIGH: u64 = 1 << 32;

fn requests_go_and_come(features: u64) {
    let (bench, mut back) = connecting(|_| ());
    assert_eq!(bench.submit(0, &[segment(0, 1)], &[]), Submitted::Full, "it has not begun");
    back.features = features;
    // It is asked anew.
    drop(back);
    let mut back = BackEnd { features, ..BackEnd::new(bench.listener.as_ref().unwrap().accept().unwrap().0) };
    back.greet();
    bench.begin(&mut back);
    assert_eq!(back.taken, features & (1 | 1 << 28 | 1 << 30 | 1 << 32), "what is not needed is not taken");
    bench.poke(0x1000, &[1, 2, 3]);
    bench.poke(HIGH + 0x2000, &[4, 5, 6, 7]);
    // More than the ring has places, so that descriptors are used again.
    for round in 0..40 {
        let queue = round % 2;
        let readable = [segment(0x1000, 3), segment(HIGH + 0x2000, 4)];
        let writable = [segment(HIGH + 0x3000, 5), segment(0x4000, 9)];
        let token = token(bench.submit(queue, &readable, &writable));
        bench.front.kick(queue);
        back.echo(queue.into());
        assert_eq!(bench.used(), Used { queue, token, written: 7 });
        assert_eq!([bench.peek(HIGH + 0x3000, 5), bench.peek(0x4000, 3)].concat(), [2, 3, 4, 5, 6, 7, 8, 0]);
        bench.poke(HIGH + 0x3000, &[0; 5]);
    }
    assert_eq!(bench.front.used(), None);
}

#[test]
fn requests_go_and_come_in_tables() {
    requests_go_and_come(FEATURES);
}

#[test]
fn requests_go_and_come_to_one_that_knows_no_tables() {
    requests_go_and_come(FEATURES & !(1 << 28));
}

#[test]
fn there_is_room_for_so_many_and_they_come_back_in_any_order() {
    let (bench, mut back) = connecting(|_| ());
    bench.begin(&mut back);
    let (one, many) = ([segment(0, 8)], [segment(0x100, 8); 9]);
    let tokens: Vec<u16> = (0..8).map(|_| token(bench.submit(1, &many, &one))).collect();
    assert_eq!(bench.submit(1, &one, &[]), Submitted::Full);
    assert_eq!(bench.submit(1, &[], &[]), Submitted::TooLong);
    assert_eq!(bench.front.submit(7, 0, &one, &[]), Submitted::Full, "another incarnation's");
    assert_eq!(bench.submit(1, &[segment(0, 1); 129], &[]), Submitted::TooLong);
    assert_eq!(bench.submit(2, &one, &[]), Submitted::TooLong, "there is no such queue");
    bench.front.kick(1);
    let heads: Vec<u16> = (0..8).map(|_| back.next(1).0).collect();
    for head in heads.iter().rev() {
        back.used(1, (*head).into(), 0);
    }
    let came: Vec<u16> = (0..8).map(|_| bench.used().token).collect();
    assert!(came.iter().eq(tokens.iter().rev()));
    token(bench.submit(1, &one, &[]));
}

#[test]
fn another_takes_over_and_nothing_is_lost() {
    let (bench, mut back) = connecting(|_| ());
    bench.begin(&mut back);
    let taking = Taking { front: Arc::downgrade(&bench.front), used: Mutex::default() };
    assert!(bench.taken.set(taking).is_ok());
    let taken = || bench.taken.get().unwrap().used.lock().unwrap().pop();
    let (first, second) = ([segment(0x1000, 1)], [segment(0x2000, 1)]);
    let a = token(bench.submit(0, &first, &[]));
    token(bench.submit(0, &second, &[]));
    // One it carries out, and dies; that counts.
    let (head, _) = back.next(0);
    back.used(0, head.into(), 0);
    drop(back);
    assert_eq!(bench.when(|_| taken()), Used { queue: 0, token: a, written: 0 });
    let mut back = bench.another();
    back.run();
    bench.when(|front| (front.incarnation() == 2).then_some(()));
    assert_eq!(bench.front.used(), None);
    token(bench.submit(0, &second, &[]));
    bench.front.kick(0);
    let (_, pieces) = back.next(0);
    assert_eq!((pieces[0].at, pieces.len()), (0x2000, 1));
}

#[test]
fn it_stops_when_the_back_end_says_so_and_begins_anew() {
    let (bench, mut back) = connecting(|_| ());
    bench.begin(&mut back);
    for (why, told) in [(Stop::Pause, 11), (Stop::Reset, 34)] {
        let readable = [segment(0x1000, 1)];
        let token = token(bench.submit(0, &readable, &[]));
        back.echo(0);
        bench.front.stop(why);
        assert!(!bench.front.is_stopped());
        assert_eq!(bench.submit(0, &readable, &[]), Submitted::Full);
        back.until(11);
        back.until(told);
        bench.when(|front| front.is_stopped().then_some(()));
        let expected = (why == Stop::Pause).then_some(Used { queue: 0, token, written: 0 });
        assert_eq!(bench.front.used(), expected, "what a driver has not reset it is told of");
        bench.begin(&mut back);
        assert_eq!(bench.front.used(), None);
    }
    // A stop and a begin at once are both.
    bench.front.stop(Stop::Reset);
    bench.front.start(0);
    back.until(34);
    assert!(back.rings.values().all(|ring| !ring.enabled));
    back.run();
    assert_eq!(back.taken & 0xff, 0, "what the driver has not accepted is not taken");
}

#[test]
fn the_configuration_is_read_written_and_changes() {
    let (bench, mut back) = connecting(|_| ());
    let config = || {
        let mut data = [0; 20];
        bench.front.read_config(0, &mut data);
        data
    };
    assert_eq!(config()[..17], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0]);
    bench.front.write_config(4, &[40, 50]);
    back.until(25);
    assert_eq!(back.config[4..6], [40, 50]);
    assert_eq!(config()[4..6], [40, 50]);
    bench.front.write_config(15, &[1, 2]);
    bench.front.write_config(usize::MAX, &[1]);
    assert!(!bench.front.take_config_change());
    back.config[0] = 99;
    let requests = back.requests.take().unwrap();
    let mut stream = &requests;
    std::io::Write::write_all(&mut stream, &[2u32, 1 | 8, 0].map(u32::to_ne_bytes).concat()).unwrap();
    let mut answer = [0; 20];
    std::io::Read::read_exact(&mut stream, &mut answer).unwrap();
    assert_eq!(answer, *[2u32, 5, 8, 0, 0].map(u32::to_ne_bytes).concat());
    back.until(24);
    bench.when(|front| front.take_config_change().then_some(()));
    assert_eq!(config()[0], 99);
}

#[test]
fn a_state_is_had_and_another_goes_on_from_it() {
    let (bench, mut back) = connecting(|_| ());
    // Of a device that no driver has touched, nothing is to be had.
    bench.front.stop(Stop::Save);
    assert!(bench.front.is_stopped());
    assert_eq!(bench.front.saved(), Ok(None));
    bench.begin(&mut back);
    back.state = (0..300_000u32).map(|n| (n * 7 >> 3) as u8).collect();
    bench.front.stop(Stop::Save);
    back.until(43);
    bench.when(|front| front.is_stopped().then_some(()));
    let state = bench.front.saved().unwrap().unwrap();
    assert!(state == back.state);
    let (bench, mut back) = connecting(|_| ());
    bench.front.restore(state.clone());
    bench.begin(&mut back);
    assert!(state == back.state);
    assert!(back.told.iter().position(|told| *told == 43) < back.told.iter().position(|told| *told == 18));
}

#[test]
fn a_state_that_cannot_be_had_is_told_in_a_sentence() {
    let (bench, back) = connecting(|_| ());
    drop(back);
    let mut back = BackEnd {
        protocol: back_end::PROTOCOL & !(1 << 19),
        ..BackEnd::new(bench.listener.as_ref().unwrap().accept().unwrap().0)
    };
    back.greet();
    bench.begin(&mut back);
    bench.front.stop(Stop::Save);
    back.until(11);
    back.until(11);
    bench.when(|front| front.is_stopped().then_some(()));
    assert_eq!(bench.front.saved(), Err("its back end cannot give its state".into()));
    // Nor can it be had of one that goes meanwhile.
    bench.begin(&mut back);
    drop(back);
    bench.when(|front| (!front.is_connected()).then_some(()));
    bench.front.stop(Stop::Save);
    assert_eq!(bench.front.saved(), Err("its back end has gone".into()));
    assert!(bench.front.describe().ends_with(", gone"));
}

#[test]
fn we_can_be_the_ones_who_listen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let ram = memory::new_shared_ram(1 << 20, 0).unwrap();
    std::thread::scope(|scope| {
        let back = scope.spawn(|| {
            let peer = loop {
                match UnixStream::connect(&path) {
                    Ok(peer) => break peer,
                    Err(_) => std::thread::yield_now(),
                }
            };
            greeted(peer)
        });
        let options = options(&path, Place::Listen(path.clone()), &ram);
        let front = FrontEnd::connect(options, Waker::default(), 0).unwrap();
        drop(back.join().unwrap());
        greeted(UnixStream::connect(&path).unwrap());
        drop(front);
    });
    assert!(!path.exists());
    let mut options = options(&path, Place::Listen(path.clone()), &ram);
    options.patience = Duration::from_millis(1);
    let error = FrontEnd::connect(options, Waker::default(), 0).err().unwrap().to_string();
    assert!(error.ends_with("nobody has connected there"), "{error}");
}

/// What a hostile back end does once it serves.
type Lie = fn(&mut BackEnd);

#[test]
fn one_that_lies_is_closed_and_the_next_is_served() {
    let lies: [Lie; 12] = [
        |back| back.used(0, 0, 0),
        |back| back.used(0, 8, 0),
        |back| back.used(1, u32::MAX, 0),
        |back| {
            back.set_index(back.rings[&0].used + 2, 0x8000);
            back.call(0);
        },
        |back| {
            let (head, _) = back.next(1);
            back.used(1, head.into(), 5);
        },
        |back| {
            let (head, _) = back.next(1);
            back.used(1, head.into(), 4);
            back.used(1, head.into(), 4);
        },
        |back| {
            rustix::io::write(back.rings[&1].error.as_ref().unwrap(), &1u64.to_ne_bytes()).unwrap();
        },
        |back| back.answer(1, &[0; 8]),
        |back| {
            let _ = std::io::Write::write_all(&mut back.requests.take().unwrap(), &[0xff; 12]);
        },
        |back| back.requests = None,
        |back| {
            // A file where the configuration is asked for.
            let requests = back.requests.take().unwrap();
            let mut stream = &requests;
            std::io::Write::write_all(&mut stream, &[2u32, 1, 0].map(u32::to_ne_bytes).concat()).unwrap();
            let message = back.hear().unwrap();
            let head = [message.request, 5, message.body.len() as u32].map(u32::to_ne_bytes).concat();
            back.send_file(&head, &back.peer);
        },
        |back| {
            let mut stream = back.requests.as_ref().unwrap();
            std::io::Write::write_all(&mut stream, &[2u32, 1, 0].map(u32::to_ne_bytes).concat()).unwrap();
            back.hear().unwrap();
            back.answer(24, &[0; 4097]);
        },
    ];
    let (bench, mut back) = connecting(|_| ());
    bench.front.start(1);
    for lie in lies {
        let before = bench.front.incarnation();
        back.run();
        bench.when(|front| (front.incarnation() > before).then_some(()));
        token(bench.submit(1, &[segment(0, 4)], &[segment(0x100, 4)]));
        lie(&mut back);
        // The device looks when it is woken.
        let last = back;
        last.peer.set_nonblocking(true).unwrap();
        bench.when(|front| {
            while front.used().is_some() {}
            (!front.is_connected() || front.incarnation() > before + 1).then_some(())
        });
        back = bench.another();
    }
}

#[test]
fn one_that_is_no_back_end_is_refused_in_a_sentence() {
    let cases: [(Lie, &str); 6] = [
        (|back| back.features &= !(1 << 32), "it does not know virtio 1.0"),
        (|back| back.queues = 1, "it has 1 queues where the device has 2"),
        (|back| back.protocol &= !(1 << 9), "it has no configuration of the device"),
        (|back| back.answer(1, &[0; 4]), "it does not answer request 1 as it should"),
        (|back| back.answer(2, &[0; 8]), "it does not answer request 1 as it should"),
        (|back| back.told.push(u32::MAX), "it does not answer"),
    ];
    for (change, why) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let ram = memory::new_shared_ram(1 << 20, 0).unwrap();
        let mut options = options(&path, Place::Connect(Box::new(Direct(path.clone())), None), &ram);
        options.patience = if why.ends_with("answer") { Duration::from_millis(20) } else { SOON };
        let result = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut back = BackEnd::new(listener.accept().unwrap().0);
                change(&mut back);
                while let Ok(message) = back.hear() {
                    if back.told[0] != u32::MAX {
                        back.obey(message);
                    }
                }
            });
            FrontEnd::connect(options, Waker::default(), 0).map(drop)
        });
        let error = result.unwrap_err().to_string();
        assert!(error.ends_with(&format!("is of no use: {why}")), "{error}");
    }
    let place = Place::Connect(Box::new(Direct("/nonexistent".into())), None);
    let ram = memory::new_shared_ram(1 << 20, 0).unwrap();
    let error = FrontEnd::connect(options(Path::new("/nonexistent"), place, &ram), Waker::default(), 0);
    let error = error.err().unwrap().to_string();
    assert!(error.starts_with("no back end at /nonexistent: No such file"), "{error}");
}

#[test]
fn one_that_hangs_is_given_up() {
    let (bench, mut back) = connecting(|options| options.patience = Duration::from_millis(50));
    bench.begin(&mut back);
    bench.front.stop(Stop::Reset);
    // It is asked where its rings stand, and says nothing.
    bench.when(|front| front.is_stopped().then_some(()));
    while back.hear().is_ok() {}
    assert!(bench.path.exists());
}
