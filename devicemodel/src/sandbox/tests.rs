//! A sandbox cannot be left, so that each case runs in a process of its own: this test program again, with
//! the case in its environment.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use hypervisor::thread_role;

use super::*;

const CASE: &str = "AILURUS_SANDBOX_CASE";
const FOLDER: &str = "AILURUS_SANDBOX_FOLDER";

/// Runs a case of [`child`] in its own process.
fn run(case: &str) -> ExitStatus {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "sandbox::tests::child", "--nocapture"])
        .env(CASE, case)
        .env(FOLDER, folder.path());
    command.status().unwrap()
}

fn eperm(result: io::Result<impl Sized>) {
    assert_eq!(result.err().and_then(|error| error.raw_os_error()), Some(libc::EPERM));
}

/// Does nothing but in the process that [`run`] starts.
#[test]
fn child() {
    let confined = Options { confine: true, ..Options::default() };
    match std::env::var(CASE).as_deref() {
        Ok("refused") => refused(&confined),
        Ok("needed") => needed(&confined),
        Ok("disks") => disks(),
        Ok("opener") => opener(),
        Ok("opener-exec") => {
            enter_as_opener(&[], &[]).unwrap();
            // It has not even the calls with which the library prepares to start a program.
            let error = chroot("/");
            panic!("chroot came back: {error:?}");
        }
        Ok("guest") => guest(),
        Ok("network") => network(),
        Ok("sockets") => sockets(),
        Ok("again-unix") => again(true),
        Ok("again-tcp") => again(false),
        Ok("kinds") => kinds(&confined),
        Ok("sizes") => sizes(&confined),
        Ok("restored") => restored(&confined),
        Ok("disks-exec") => {
            enter_for_disks(&confined).unwrap();
            let error = Command::new("/bin/true").exec();
            panic!("exec came back: {error}");
        }
        Ok("exec") => {
            enter(&confined, None).unwrap();
            let error = Command::new("/bin/true").exec();
            panic!("exec came back: {error}");
        }
        Ok("user") => {
            let user = Some(User::Ids { uid: 65534, gid: 65533 });
            enter(&Options { chroot: Some(folder()), user, ..confined }, None).unwrap();
            assert_eq!(rustix::process::getuid().as_raw(), 65534);
            assert_eq!(rustix::process::getgid().as_raw(), 65533);
            // In every thread.
            std::thread::spawn(|| assert!(setuid(Uid::from_raw(0)).is_err())).join().unwrap();
        }
        _ => {}
    }
}

fn refused(options: &Options) {
    // A thread that was there before.
    let (send, receive) = std::sync::mpsc::channel::<()>();
    let before = std::thread::spawn(move || {
        receive.recv().unwrap();
        eperm(File::open("/etc/passwd"));
    });
    let null = File::open("/dev/null").unwrap();
    let again = null.try_clone().unwrap();
    enter(options, None).unwrap();
    eperm(File::open("/etc/passwd"));
    eperm(File::create("/tmp/x"));
    eperm(std::net::UdpSocket::bind("127.0.0.1:0"));
    eperm(UnixListener::bind("\0nobody"));
    // Another process, by whatever call.
    assert!(Command::new("/bin/true").status().is_err());
    // A hypercall that is no dm_op, on whatever file.
    assert_eq!(rustix::io::ioctl_fioclex(&null), Err(rustix::io::Errno::PERM));
    // What a file is may be asked of an open one, and signals go to nobody else.
    eperm(std::fs::metadata("/etc/passwd"));
    null.metadata().unwrap();
    let init = rustix::process::Pid::from_raw(1).unwrap();
    eperm(rustix::process::test_kill_process(init).map_err(io::Error::from));
    eperm(nix::fcntl::fcntl(null.as_fd(), nix::fcntl::FcntlArg::F_GETPIPE_SZ).map_err(io::Error::from));
    send.send(()).unwrap();
    before.join().unwrap();
    let (mut client, mut server) = UnixStream::pair().unwrap();
    client.write_all(b"hello").unwrap();
    let vcpu = std::thread::spawn(move || {
        thread_role::at(thread_role::Role::Vcpu);
        eperm(server.read(&mut [0; 5]));
        eperm(std::thread::Builder::new().spawn(|| ()));
        eperm(again.metadata());
        server
    });
    let mut server = vcpu.join().unwrap();
    // Only those threads have given it up.
    assert_eq!(server.read(&mut [0; 5]).unwrap(), 5);
}

/// Images that are open are served from threads; nothing is opened.
fn disks() {
    use backends::image::{Format, Image, ImageError, ImageOptions, Images};
    use devices_core::block::{BlockBackend, BlockOp, BlockRequest, CompletionQueue, Payload};
    use devices_core::{Wake, Waker};

    let folder = folder();
    let raw = folder.join("raw");
    File::create(&raw).unwrap().set_len(1 << 20).unwrap();
    let open = || File::options().read(true).write(true).open(&raw).unwrap();
    let (file, again) = (open(), open());
    let small = Rlimit { current: Some(1 << 18), maximum: None };
    setrlimit(Resource::Fsize, small).unwrap();
    let status = File::open("/proc/thread-self/status").unwrap();
    let root = rustix::process::getuid().is_root();
    let user = root.then_some(User::Ids { uid: 65534, gid: 65533 });
    let chroot = root.then(|| folder.clone());
    enter_for_disks(&Options { chroot, user, confine: true, ..Options::default() }).unwrap();
    let options = ImageOptions::new(&raw, Format::Raw);
    let image = Image::from_file(file, &options).unwrap();
    let pool = Images::default().serve(image);
    let (send, receive) = std::sync::mpsc::channel();
    let send = std::sync::Mutex::new(send);
    let done = CompletionQueue::new(Waker::calling(move |_: Wake| send.lock().unwrap().send(()).unwrap()), 0);
    // Beyond the size that files may have otherwise.
    let write = |token, op, payload| {
        let request = BlockRequest { token, op, offset: 1 << 19, payload, done: done.clone() };
        assert!(pool.submit(request).is_ok());
        receive.recv().unwrap();
        assert_eq!(done.pop().unwrap().result, Ok(()));
    };
    write(1, BlockOp::Write, Payload::Buffer(vec![7; 4096]));
    write(2, BlockOp::Flush, Payload::None);
    assert!(matches!(Image::from_file(again, &options), Err(ImageError::Locked(_))));
    // What runs as root because it stands in a file, and its own image.
    let raw = raw.to_str().unwrap();
    for path in ["/etc/crontab", "/proc/sys/kernel/core_pattern", "/proc/self/mem", raw, "/raw", "/"] {
        eperm(File::options().write(true).open(path));
        eperm(File::open(path));
        eperm(std::fs::metadata(path));
    }
    eperm(File::create("/new"));
    eperm(std::net::UdpSocket::bind("127.0.0.1:0"));
    eperm(UnixStream::connect("/nowhere"));
    assert!(Command::new("/bin/true").status().is_err());
    assert_eq!(permitted(status), CapabilitySet::empty());
}

/// The capabilities that a thread may have, by its status.
fn permitted(status: File) -> CapabilitySet {
    let status = io::read_to_string(status).unwrap();
    let permitted = status.lines().find_map(|line| line.strip_prefix("CapPrm:\t")).unwrap();
    CapabilitySet::from_bits_retain(u64::from_str_radix(permitted, 16).unwrap())
}

/// Images are opened and handed over, and not one byte of them is read.
fn opener() {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use std::os::fd::AsRawFd;

    let folder = folder();
    let raw = folder.join("raw");
    std::fs::write(&raw, [7; 4096]).unwrap();
    let (stream, other) = UnixStream::pair().unwrap();
    let (link, theirs) = UnixStream::pair().unwrap();
    let status = File::open("/proc/thread-self/status").unwrap();
    let streams = [stream.as_raw_fd(), other.as_raw_fd(), status.as_raw_fd()];
    enter_as_opener(&streams, &[link.as_raw_fd()]).unwrap();
    let image = File::options().read(true).write(true).open(&raw).unwrap();
    let send = |link: &UnixStream| {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let files = [image.as_fd()];
        assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
        sendmsg(link, &[io::IoSlice::new(b"x")], &mut control, SendFlags::empty())
    };
    assert_eq!(send(&link), Ok(1));
    assert_eq!(send(&theirs), Err(rustix::io::Errno::PERM), "to nobody else");
    assert_eq!(rustix::io::write(&stream, b"hello"), Ok(5));
    assert_eq!(rustix::io::read(&other, &mut [0; 5]), Ok(5));
    // The image.
    use std::os::unix::fs::FileExt;
    eperm((&image).read(&mut [0; 1]));
    eperm((&image).write(b"x"));
    eperm(image.read_at(&mut [0; 1], 0));
    eperm(image.write_at(b"x", 0));
    eperm(image.set_len(0));
    eperm(image.try_clone());
    eperm(io::copy(&mut &image, &mut &stream));
    eperm(nix::unistd::dup2_stdin(&image).map_err(io::Error::from));
    eperm(nix::unistd::close(streams[0]).map_err(io::Error::from));
    // Everything else.
    for path in ["/etc/crontab", "/etc/passwd", "/proc/sys/kernel/core_pattern", "/proc/self/mem"] {
        assert!(File::options().write(true).open(path).is_err(), "{path}");
        assert!(File::open(path).is_err(), "{path}");
    }
    eperm(File::create(folder.join("new")));
    eperm(File::options().write(true).truncate(true).open(&raw));
    eperm(std::fs::remove_file(&raw));
    eperm(UnixStream::connect("/nowhere"));
    eperm(std::thread::Builder::new().spawn(|| ()));
    let permitted = permitted(status);
    assert!(CapabilitySet::DAC_OVERRIDE.contains(permitted), "{permitted:?}");
    drop(image);
    // The test's own program would write to standard output.
    std::process::exit(0);
}

/// A guest that a person has started opens what was named, and what its monitor's clients name beside the monitor.
fn guest() {
    let folder = folder();
    let (own, beside) = (folder.join("own"), folder.join("beside"));
    std::fs::create_dir(&own).unwrap();
    for name in ["disk", "cd", "other"] {
        std::fs::write(folder.join(name), b"x").unwrap();
    }
    let config = GuestConfig {
        disks: vec![
            crate::config::DiskConfig::new(folder.join("disk")),
            crate::config::DiskConfig::cdrom(folder.join("cd")),
        ],
        serial: vec![crate::config::SerialConfig::File(beside.clone())],
        dumps: vec![crate::config::DumpConfig {
            id: "d".into(),
            netdev: "n".into(),
            file: folder.join("dump"),
            longest: 64,
        }],
        ..GuestConfig::default()
    };
    begin(&Named { monitor: Some(own.join("monitor")), ..Named::default() }, &config).unwrap();
    let open = |path: &std::path::Path, write| File::options().read(true).write(write).open(path);
    let refused = |path: &str, write| assert!(open(path.as_ref(), write).is_err(), "{path} {write}");
    let check = || {
        open(&folder.join("disk"), true).unwrap();
        open(&folder.join("cd"), false).unwrap();
        assert!(open(&folder.join("cd"), true).is_err(), "a medium is not written");
        File::create(&beside).unwrap();
        assert!(open(&folder.join("other"), false).is_err());
        // A dump that was named, or in the monitor's folder, is begun anew as often as one likes.
        for dump in [folder.join("dump"), own.join("dump")] {
            crate::machine::open_dump(&dump).unwrap();
        }
        let mut why = crate::machine::open_dump(&folder.join("dump2")).unwrap_err().to_string();
        explain(&mut why);
        let explained = why.contains("the process is confined to the files that it was started with");
        assert!(explained || !filter::is_on(), "{why}");
        assert!(File::create(folder.join("new")).is_err());
        // A takeover gets neither at root's table of jobs nor at what the kernel runs for a dead process.
        for (path, write) in [
            ("/etc/passwd", false),
            ("/etc/crontab", true),
            ("/proc/sys/kernel/core_pattern", true),
            ("/proc/self/mem", true),
        ] {
            refused(path, write);
        }
        // A picture takes its name when it is whole.
        std::fs::write(own.join("picture.partial"), b"x").unwrap();
        std::fs::rename(own.join("picture.partial"), own.join("picture")).unwrap();
        assert!(std::fs::rename(folder.join("other"), own.join("other")).is_err());
        assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err());
    };
    check();
    let bus = UnixListener::bind(own.join("bus")).unwrap();
    finish(&config).unwrap();
    check();
    eperm(std::net::UdpSocket::bind("127.0.0.1:0"));
    eperm(std::os::unix::net::UnixDatagram::unbound());
    eperm(std::os::unix::net::UnixDatagram::pair());
    // A program of the host's that listens, whose socket is not taken for one that is left over, either.
    eperm(UnixStream::connect(own.join("bus")));
    let taken = backends::chardev::prepare(&backends::chardev::CharSpec::Unix(own.join("bus")));
    assert!(taken.is_err() && own.join("bus").exists());
    drop(bus);
    let error = Command::new("/bin/true").exec();
    panic!("exec came back: {error}");
}

/// A guest with user networking connects to hosts of the internet, and to no program of this host's by a local socket.
fn network() {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    let netdev = crate::config::NetdevConfig { id: "n".into(), kind: "user".into(), options: Vec::new() };
    let config = GuestConfig { netdevs: vec![netdev], ..GuestConfig::default() };
    let bus = folder().join("bus");
    let _served = UnixListener::bind(&bus).unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap();
    let mut wire = Wire::new();
    begin(&Named::default(), &config).unwrap();
    finish(&config).unwrap();
    // A network that comes later counts its files by what the process may have, which it cannot change.
    let files = getrlimit(Resource::Nofile);
    eperm(setrlimit(Resource::Nofile, files).map_err(io::Error::from));
    wire.moves_frames_with_few_calls();
    eperm(UnixStream::connect(&bus));
    eperm(std::os::unix::net::UnixDatagram::unbound());
    eperm(std::os::unix::net::UnixDatagram::pair());
    UnixStream::pair().unwrap();
    assert!(File::open("/etc/passwd").is_err());
    let work = move |kind: thread_role::Role| {
        std::thread::spawn(move || {
            thread_role::at(kind);
            (TcpStream::connect(address).is_ok(), UdpSocket::bind("127.0.0.1:0").is_ok())
        })
        .join()
        .unwrap()
    };
    assert_eq!(work(thread_role::Role::Network), (true, true));
    for kind in [
        thread_role::Role::Viewer,
        thread_role::Role::Web,
        thread_role::Role::Chardev,
        thread_role::Role::Vcpu,
        thread_role::Role::Disk,
        thread_role::Role::Frames,
        thread_role::Role::Queues,
    ] {
        assert_eq!(work(kind), (false, false), "{kind:?}");
    }
}

/// A guest whose sockets lead to programs of the host's: its thread connects to them, and nobody else does.
fn sockets() {
    let path = folder().join("v");
    let mut config = GuestConfig::default();
    config.add_vsock(&format!("cid=3,socket={}", path.display())).unwrap();
    let served = UnixListener::bind(folder().join("v_7")).unwrap();
    begin(&Named::default(), &config).unwrap();
    let prepared = backends::vsock::prepare(&path).unwrap();
    finish(&config).unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    let tell = std::sync::Mutex::new(tell);
    let waker = devices_core::Waker::calling(move |_| tell.lock().unwrap().send(()).unwrap());
    let options = backends::vsock::Options { cid: 3, path: path.clone(), connections: 5 };
    let host = prepared.start(options, waker, 0).unwrap();
    // A connection each way, and bytes.
    use devices_core::vsock::{Header, VsockBackend, kind, op};
    let of_guest = |op, dst_port| Header {
        src_cid: 3,
        dst_cid: 2,
        src_port: 9,
        dst_port,
        kind: kind::STREAM,
        op,
        buf_alloc: 100,
        ..Header::default()
    };
    let heard = || {
        let mut packet = Vec::new();
        while !host.receive(&mut packet) {
            told.recv().unwrap();
        }
        Header::split(&packet).unwrap().0
    };
    assert!(host.send(&of_guest(op::REQUEST, 7).bytes()));
    assert_eq!(heard().op, op::RESPONSE);
    let (mut program, _) = served.accept().unwrap();
    program.write_all(b"hello").unwrap();
    assert_eq!((heard().len, host.send(&of_guest(op::RST, 7).bytes())), (5, true));
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"CONNECT 9\n").unwrap();
    let port = heard().src_port;
    assert!(host.send(&of_guest(op::RESPONSE, port).bytes()));
    client.read_exact(&mut [0; 3]).unwrap();
    // Files are out of its reach as of others', and nobody else's thread connects.
    assert!(File::open("/etc/passwd").is_err());
    eperm(std::net::UdpSocket::bind("127.0.0.1:0"));
    eperm(std::os::unix::net::UnixDatagram::unbound());
    for kind in [
        thread_role::Role::Viewer,
        thread_role::Role::Web,
        thread_role::Role::Chardev,
        thread_role::Role::Vcpu,
        thread_role::Role::Disk,
        thread_role::Role::Frames,
        thread_role::Role::Network,
    ] {
        let path = path.clone();
        let connects = move || {
            thread_role::at(kind);
            eperm(UnixStream::connect(path));
        };
        std::thread::spawn(connects).join().unwrap();
    }
}

/// One end of a stream that the guest's network is connected to, and again when it has gone.
enum Switch {
    Unix(UnixListener),
    Tcp(std::net::TcpListener),
}

impl Switch {
    /// Lets the network come, and has a frame pass from there.
    fn serve(&self, netdev: &Arc<dyn backends::net::Netdev>) {
        let frame = [&[0, 0, 0, 60][..], &[9; 60]].concat();
        // Who is there must stay until the frame is.
        let _peer: Box<dyn std::any::Any> = match self {
            Switch::Unix(listener) => {
                let (mut peer, _) = listener.accept().unwrap();
                peer.write_all(&frame).unwrap();
                Box::new(peer)
            }
            Switch::Tcp(listener) => {
                let (mut peer, _) = listener.accept().unwrap();
                peer.write_all(&frame).unwrap();
                Box::new(peer)
            }
        };
        let mut came = Vec::new();
        while !netdev.receive(&mut came) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(came, [9; 60]);
    }
}

/// A guest whose network is a stream, by a Unix socket or TCP, that comes again when its other end has gone.
fn again(unix: bool) {
    use backends::net::{Around, Hubs, prepare};
    let path = folder().join("switch");
    let (switch, other_port) = (
        std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
        std::net::TcpListener::bind("127.0.0.1:0").unwrap(),
    );
    let (port, other_port) = (switch.local_addr().unwrap().port(), other_port.local_addr().unwrap().port());
    let by = |words: &[(&str, &str)]| crate::config::NetdevConfig {
        id: "n".into(),
        kind: "stream".into(),
        options: words.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
    };
    let to_path = |path: &str| by(&[("addr.type", "unix"), ("addr.path", path), ("reconnect-ms", "10")]);
    let to_port = |port: u16| {
        let port = port.to_string();
        by(&[("addr.type", "inet"), ("addr.host", "127.0.0.1"), ("addr.port", &port), ("reconnect-ms", "10")])
    };
    let (switch, netdev) = match unix {
        true => (Switch::Unix(UnixListener::bind(&path).unwrap()), to_path(path.to_str().unwrap())),
        false => (Switch::Tcp(switch), to_port(port)),
    };
    let config = GuestConfig { netdevs: vec![netdev.clone()], ..GuestConfig::default() };
    begin(&Named::default(), &config).unwrap();
    let no_files = |_: &str| Err(String::new());
    let around = Around { fd: &no_files, hubs: &Hubs::default() };
    let prepared = prepare(&netdev.spec().unwrap(), &around).unwrap();
    finish(&config).unwrap();
    let running = prepared.start(devices_core::Waker::calling(|_| ()), 0, Arc::new(|_| ())).unwrap();
    for _ in 0..3 {
        switch.serve(&running);
    }
    // What comes later can do as much, and not more; of what cannot, it is said before.
    assert_eq!(refuses(&netdev, &config), None);
    assert_eq!(refuses(&to_path("/other"), &config).is_none(), unix);
    let why = refuses(&to_port(other_port), &config).unwrap();
    assert!(why.contains(&format!("could not connect to tcp:127.0.0.1:{other_port} again")), "{why}");
    // Once is nobody's business here.
    assert_eq!(refuses(&by(&[("addr.type", "unix"), ("addr.path", "/other")]), &config), None);
    // Whoever has TCP has no local sockets, and the other way round.
    if unix {
        eperm(std::net::TcpStream::connect(("127.0.0.1", port)));
    } else {
        eperm(UnixStream::connect(&path));
        assert!(std::net::TcpStream::connect(("127.0.0.1", other_port)).is_err(), "landlock");
    }
    eperm(std::net::UdpSocket::bind("127.0.0.1:0"));
    assert!(std::net::TcpListener::bind("127.0.0.1:0").is_err());
}

/// A back end over a socket, whose thread is there before the process is confined.
struct Wire {
    other: UnixStream,
    netdev: Arc<dyn backends::net::Netdev>,
    /// What the kernel says of its thread.
    status: File,
}

impl Wire {
    fn new() -> Wire {
        use backends::net::{Around, Hubs, parse, prepare};
        let (other, given) = UnixStream::pair().unwrap();
        let given = std::cell::RefCell::new(Some(given));
        let fd = |_: &str| given.take().map(Into::into).ok_or_else(String::new);
        let spec = parse("socket", &[("fd".into(), "wire".into())]).unwrap();
        let prepared = prepare(&spec, &Around { fd: &fd, hubs: &Hubs::default() }).unwrap();
        let waker = devices_core::Waker::calling(|_| ());
        let netdev = prepared.start(waker, 0, Arc::new(|_| ())).unwrap();
        // The thread has its name, and has come to its work, when a frame has passed.
        let mut wire = Wire { other, netdev, status: File::open("/proc/self/status").unwrap() };
        wire.passes();
        let mut tasks = std::fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
        let is_it = |task: &PathBuf| std::fs::read_to_string(task.join("comm")).unwrap() == "net\n";
        wire.status = File::open(tasks.find(is_it).unwrap().join("status")).unwrap();
        wire
    }

    /// A frame goes out and comes in again.
    fn passes(&mut self) {
        assert!(self.netdev.send(&[7; 60]));
        let mut sent = [0; 64];
        self.other.read_exact(&mut sent).unwrap();
        self.other.write_all(&sent).unwrap();
        let mut frame = Vec::new();
        while !self.netdev.receive(&mut frame) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        assert_eq!(frame, [7; 60]);
    }

    /// Filters that lie on the thread.
    fn filters(&self) -> u32 {
        let mut text = [0; 4096];
        let len = std::os::unix::fs::FileExt::read_at(&self.status, &mut text, 0).unwrap();
        let text = String::from_utf8_lossy(&text[..len]).into_owned();
        let line = text.lines().find_map(|line| line.strip_prefix("Seccomp_filters:")).unwrap();
        line.trim().parse().unwrap()
    }

    fn moves_frames_with_few_calls(&mut self) {
        let before = self.filters();
        self.passes();
        assert_eq!(self.filters(), before + 1, "the thread has what the process has");
        self.passes();
    }
}

/// A disk's thread works on files that are open, and starts others of its kind; none opens another.
fn kinds(options: &Options) {
    let mut file = File::create(folder().join("image")).unwrap();
    let (client, mut server) = UnixStream::pair().unwrap();
    enter(options, None).unwrap();
    let disk = move || {
        thread_role::at(thread_role::Role::Disk);
        file.write_all(b"x").unwrap();
        file.sync_all().unwrap();
        assert_eq!(file.metadata().unwrap().len(), 1);
        eperm(UnixStream::pair());
        let inherited = thread_role::inherited();
        let spare = move || {
            inherited.take();
            thread_role::at(thread_role::Role::Disk);
            file.set_len(2).unwrap();
            eperm(server.read(&mut [0; 1]));
        };
        std::thread::Builder::new().name("spare".into()).spawn(spare).unwrap().join().unwrap();
    };
    std::thread::spawn(disk).join().unwrap();
    let mut client = client;
    let viewer = move || {
        thread_role::at(thread_role::Role::Viewer);
        client.set_nonblocking(true).unwrap();
        // A handler needs calls that a kind of thread may not have.
        let blocked = nix::sys::signal::SigSet::thread_get_mask().unwrap();
        assert!(blocked.contains(nix::sys::signal::Signal::SIGTERM));
        // Nobody is there any more.
        let _ = client.read(&mut [0; 1]);
        eperm(rustix::fs::fsync(&client).map_err(io::Error::from));
        eperm(std::thread::Builder::new().spawn(|| ()));
    };
    std::thread::spawn(viewer).join().unwrap();
}

/// No file becomes larger than the toolstack allows and the largest disk is, and who tries lives on.
fn sizes(options: &Options) {
    let file = File::create(folder().join("x")).unwrap();
    let given = Rlimit { current: Some(1 << 18), maximum: Some(1 << 18) };
    let raised = |most| raised(&given, most).maximum;
    assert_eq!([raised(Some(0)), raised(Some(1 << 20)), raised(None)], [Some(1 << 18), Some(1 << 20), None]);
    setrlimit(Resource::Fsize, Rlimit { maximum: None, ..given }).unwrap();
    enter(options, Some(1 << 20)).unwrap();
    let at = |offset| std::os::unix::fs::FileExt::write_at(&file, &[1; 16], offset);
    assert_eq!(at((1 << 20) - 16).unwrap(), 16);
    assert_eq!(at(1 << 20).unwrap_err().kind(), io::ErrorKind::FileTooLarge);
}

/// What a guest has written is read when everything is given up: its image, and the state from which it goes on.
fn restored(options: &Options) {
    use crate::config::{DiskConfig, SerialConfig};
    use crate::machine::{Machine, MachineHandles, Preopened};

    let at = |name: &str| folder().join(name);
    std::fs::write(at("disk"), [7; 4096]).unwrap();
    let config = GuestConfig {
        memory_mib: 2,
        devices: Vec::new(),
        disks: vec![DiskConfig::new(at("disk"))],
        serial: vec![SerialConfig::File(at("serial"))],
        ..GuestConfig::default()
    };
    let build = |config: &GuestConfig, ahead| {
        let (notifier, _) = crate::notices::notices().unwrap();
        let hypervisor = Arc::new(hypervisor::NoCpu::new(1, config.memory_mib << 20, 0).unwrap());
        let handles = MachineHandles { ahead, ..MachineHandles::new(hypervisor, notifier) };
        Machine::build(config.clone(), handles).unwrap()
    };
    let mut before = GuestConfig { disks: Vec::new(), serial: vec![SerialConfig::Null], ..config.clone() };
    before.disks.push(DiskConfig::new(at("disk")));
    let saved = {
        let machine = build(&before, Preopened::default());
        let parts = crate::saved::Parts {
            config: machine.config(),
            hypervisor: machine.hypervisor(),
            bus: machine.bus(),
        };
        crate::saved::save_devices(&parts, File::create(at("saved")).unwrap(), &at("saved")).unwrap();
        File::open(at("saved")).unwrap()
    };
    let ahead = Preopened::open(&config, None).unwrap();
    let most = ahead.most();
    for name in ["saved", "disk", "serial"] {
        std::fs::remove_file(at(name)).unwrap();
    }
    enter(options, most).unwrap();
    let saved = crate::saved::open_file(saved, "fd:3".as_ref(), Some(&config)).unwrap();
    let machine = build(&config, ahead);
    saved.load(machine.hypervisor(), machine.bus()).unwrap();
    assert_eq!(machine.terminals().len(), 1);
}

fn folder() -> PathBuf {
    PathBuf::from(std::env::var_os(FOLDER).unwrap())
}

fn needed(options: &Options) {
    let folder = std::env::var(FOLDER).unwrap();
    let mut file = File::options().read(true).write(true).create(true).open(format!("{folder}/x")).unwrap();
    let listener = UnixListener::bind(format!("{folder}/s")).unwrap();
    let mut client = UnixStream::connect(format!("{folder}/s")).unwrap();
    enter(options, None).unwrap();
    file.write_all(b"data").unwrap();
    file.sync_all().unwrap();
    assert_eq!(file.metadata().unwrap().len(), 4);
    std::thread::spawn(move || client.write_all(b"hello").unwrap()).join().unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.set_nonblocking(true).unwrap();
    let mut text = [0; 5];
    server.read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hello");
    let fd = vmm_sys_util::eventfd::EventFd::new(0).unwrap();
    fd.write(1).unwrap();
    assert_eq!(fd.read().unwrap(), 1);
    // Large enough for a mapping of its own.
    assert_eq!(vec![1_u8; 64 << 20].iter().map(|byte| u64::from(*byte)).sum::<u64>(), 64 << 20);
    std::thread::sleep(std::time::Duration::from_millis(1));
}

#[test]
fn what_is_forbidden_is_refused_in_every_thread() {
    assert!(run("refused").success());
}

#[test]
fn what_is_needed_goes_on() {
    assert!(run("needed").success());
}

#[test]
fn starting_a_program_ends_the_process() {
    assert_eq!(run("exec").signal(), Some(libc::SIGSYS));
    assert_eq!(run("disks-exec").signal(), Some(libc::SIGSYS));
    assert_eq!(run("opener-exec").signal(), Some(libc::SIGSYS));
}

#[test]
fn a_guest_opens_what_was_named_and_no_more() {
    assert_eq!(run("guest").signal(), Some(libc::SIGSYS), "it went as far as its last call");
}

#[test]
fn a_network_leads_to_the_internet_and_to_no_local_socket() {
    assert!(run("network").success());
}

#[test]
fn sockets_lead_to_programs_of_the_host_from_one_thread() {
    assert!(run("sockets").success());
}

#[test]
fn a_stream_is_connected_again_by_a_confined_process() {
    assert!(run("again-unix").success());
    assert!(run("again-tcp").success());
}

#[test]
fn what_a_confined_process_cannot_connect_again_is_refused_at_the_start() {
    let netdev = |again: &str| {
        let words =
            [("addr.type", "unix"), ("addr.path", "s"), ("addr.abstract", "on"), ("reconnect", again)];
        let options = words.map(|(key, value)| (key.into(), value.into())).into();
        crate::config::NetdevConfig { id: "n".into(), kind: "stream".into(), options }
    };
    let config = |again| GuestConfig { netdevs: vec![netdev(again)], ..GuestConfig::default() };
    let why = begin(&Named::default(), &config("1")).unwrap_err().to_string();
    assert!(why.starts_with("network n: reconnect and reconnect-ms need a Unix socket with a path"), "{why}");
    can_serve(&config("0")).unwrap();
}

#[test]
fn each_kind_of_thread_keeps_what_it_needs() {
    assert!(run("kinds").success());
}

#[test]
fn files_grow_as_far_as_disks_need() {
    assert!(run("sizes").success());
}

#[test]
fn a_confined_process_reads_images_and_saved_states() {
    assert!(run("restored").success());
}

#[test]
fn who_serves_disks_opens_nothing() {
    assert!(run("disks").success());
}

#[test]
fn who_opens_images_reads_nothing() {
    assert!(run("opener").success());
}

#[test]
fn root_is_given_up_for_good() {
    // Only root can try.
    if rustix::process::getuid().is_root() {
        assert!(run("user").success());
    }
    let root = Options { user: Some(User::Ids { uid: 0, gid: 0 }), ..Options::default() };
    assert!(matches!(enter(&root, None), Err(SandboxError::Root)));
    let nobody = Options { user: Some(User::Name("no-such-user-here".into())), ..Options::default() };
    assert!(matches!(enter(&nobody, None), Err(SandboxError::NoUser(_))));
}
