//! `tap`: an interface of the host's kernel, by name or as a descriptor that a toolstack has opened.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use devices_core::Waker;
use devices_core::net::{Offload, Offloads};
use hypervisor::tap::{Shape, Tap};
use rustix::io::Errno;

use super::options::{Options, Style, size};
use super::packets::{Wire, exchange};
use super::queues::{Queues, Served, Threaded};
use super::several::Several;
use super::vnet::complete;
use super::{Around, NetError, Netdev};

/// Most queues of an interface (Linux `MAX_TAP_QUEUES`).
const QUEUES: u64 = 256;

/// Which interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapSpec {
    /// Its name, or its queues.
    pub interface: Interface,
    /// How many bytes may wait in the kernel; none: no limit of ours.
    pub send_buffer: Option<i32>,
}

/// How an interface is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interface {
    /// By its name; none: the kernel chooses. An interface that is not there is made.
    Name(Option<String>, u64),
    /// By open descriptors, a queue each. A card that has one queue uses the first, and the others are only held.
    Fds(Vec<String>),
}

impl TapSpec {
    pub(super) fn parse(options: &[(String, String)]) -> Result<TapSpec, String> {
        let mut options = Options::new(options, Style::Words);
        let (fd, fds) = (options.take("fd"), options.take("fds"));
        let alone = ["ifname", "script", "downscript", "vnet_hdr", "helper", "queues"];
        let with_fd = fd.is_some() && (fds.is_some() || options.has(&alone) || options.has(&["vhostfds"]));
        if with_fd {
            return Err(
                "ifname=, script=, downscript=, vnet_hdr=, helper=, queues=, fds=, and vhostfds= are \
                        invalid with fd="
                    .into(),
            );
        }
        if fds.is_some() && (options.has(&alone) || options.has(&["vhostfd"])) {
            return Err(
                "ifname=, script=, downscript=, vnet_hdr=, helper=, queues=, and vhostfd= are invalid \
                        with fds="
                    .into(),
            );
        }
        let name = options.take("ifname").filter(|name| !name.is_empty());
        let queues = options.number("queues", "a uint64 value")?.unwrap_or(1);
        if !(1..=QUEUES).contains(&queues) {
            return Err(format!("queues={queues}: an interface has 1 to {QUEUES} queues"));
        }
        let send_buffer = match options.take("sndbuf") {
            Some(text) => Some(size(text).ok_or("Parameter 'sndbuf' expects a size value")?),
            None => None,
        };
        refuse(&mut options, fd.is_none() && fds.is_none())?;
        options.end()?;
        let interface = match (fd, fds) {
            (Some(fd), _) => Interface::Fds(vec![fd.to_owned()]),
            (_, Some(fds)) => Interface::Fds(fds.split(':').map(str::to_owned).collect()),
            _ => Interface::Name(name.map(str::to_owned), queues),
        };
        // 0 is no limit, as QEMU has it.
        let send_buffer = send_buffer.filter(|bytes| *bytes > 0);
        Ok(TapSpec { interface, send_buffer: send_buffer.map(|bytes| bytes.try_into().unwrap_or(i32::MAX)) })
    }
}

/// What is taken and does nothing, and what is not built.
fn refuse(options: &mut Options, by_name: bool) -> Result<(), String> {
    // Who runs the guest has put the interface in its bridge: with a script, or with the helper.
    options.take("br");
    for key in ["script", "downscript"] {
        match options.take(key) {
            Some("no" | "") => {}
            None if !by_name => {}
            // Only who is root could run it, and then not once the process is confined.
            None if key == "script" => {
                return Err("script=no is needed: scripts that set up the interface (QEMU's default is \
                            /etc/qemu-ifup) are not run; set it up beforehand"
                    .into());
            }
            None => {}
            Some(_) => return Err(format!("{key}=: scripts are not run; set the interface up beforehand")),
        }
    }
    if options.take("helper").is_some() {
        return Err(
            "helper=: QEMU's setuid helper is not used; name an interface, or give a descriptor".into()
        );
    }
    let vhost = [options.flag("vhost")?, options.flag("vhostforce")?].contains(&Some(true));
    if vhost || options.has(&["vhostfd", "vhostfds"]) {
        return Err("vhost=on is not built: no card here can use it".into());
    }
    // A hint for vhost.
    options.number("poll-us", "a uint32 value")?;
    // Cards that are built take frames without a header.
    options.flag("vnet_hdr")?;
    Ok(())
}

/// An interface that is open.
pub(super) struct Prepared {
    /// Its queues, of which all but the first are detached.
    taps: Vec<Tap>,
    by_name: bool,
}

pub(super) fn prepare(spec: &TapSpec, around: &Around) -> Result<Prepared, NetError> {
    let (taps, by_name) = match &spec.interface {
        Interface::Name(name, queues) => (open(name.as_deref().unwrap_or("tap%d"), *queues)?, true),
        Interface::Fds(fds) => {
            let given: Result<Vec<_>, _> = fds.iter().map(|fd| given(fd, around)).collect();
            (given?, false)
        }
    };
    for other in &taps[1..] {
        // The kernel would share frames out among them all.
        other.attach(false).map_err(|source| NetError::Tap { name: other.name().to_owned(), source })?;
    }
    // Without a limit the kernel drops what it cannot keep, and the guest is never held up by a bridge.
    if let Err(source) = taps[0].set_send_buffer(spec.send_buffer.unwrap_or(i32::MAX))
        && spec.send_buffer.is_some()
    {
        return Err(NetError::Tap { name: taps[0].name().to_owned(), source });
    }
    Ok(Prepared { taps, by_name })
}

/// All queues of an interface.
fn open(name: &str, queues: u64) -> Result<Vec<Tap>, NetError> {
    let shape = Shape { several: queues > 1, header: true };
    let failed = |source| NetError::Tap { name: name.to_owned(), source };
    let first = match Tap::open(name, shape) {
        // One that is there already, with several queues, has one for us too.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput && queues == 1 => {
            Tap::open(name, Shape { several: true, ..shape }).map_err(|_| error)
        }
        other => other,
    };
    let mut taps = vec![first.map_err(failed)?];
    for _ in 1..queues {
        let next = Tap::open(taps[0].name(), shape).map_err(failed)?;
        taps.push(next);
    }
    Ok(taps)
}

fn given(fd: &str, around: &Around) -> Result<Tap, NetError> {
    let bad = |why: String| NetError::Fd { fd: fd.to_owned(), why };
    let file = (around.fd)(fd).map_err(bad)?;
    rustix::io::ioctl_fionbio(&file, true).map_err(|e| bad(io::Error::from(e).to_string()))?;
    Tap::of(file).map_err(|e| bad(format!("it is no tap interface: {e}")))
}

impl Prepared {
    /// What `info network` says of it.
    pub(super) fn state(&self) -> String {
        let name = self.taps[0].name();
        if self.by_name {
            format!("ifname={name},script=no,downscript=no")
        } else {
            format!("fd,ifname={name}")
        }
    }

    pub(super) fn start(self, waker: Waker, number: u32) -> Result<Arc<dyn Netdev>, NetError> {
        let state = self.state();
        // A header says what is left to be done.
        let offloads = if self.taps[0].has_header() { Offloads::ALL } else { Offloads::NONE };
        let start = |(at, tap): (usize, Tap)| {
            let queues = Queues::new(waker.clone(), number)?;
            queues.set_open(true);
            queues.set_used(at == 0);
            let wire = Interfaced { tap, allowed: Offloads::NONE, first: at == 0, attached: at == 0 };
            let serve = move |served: &Served| exchange(served, wire);
            Threaded::start_with(queues, "tap", &state, (None, offloads), serve)
        };
        let queues: Vec<_> = self.taps.into_iter().enumerate().map(start).collect::<Result<_, NetError>>()?;
        Ok(Several::of(queues))
    }
}

/// A queue of an interface.
struct Interfaced {
    tap: Tap,
    /// What the kernel may leave to the card.
    allowed: Offloads,
    /// The first of its queues, which tells the kernel what is so for all.
    first: bool,
    attached: bool,
}

/// `TUN_F_*` of Linux's `if_tun.h`.
fn flags(allowed: Offloads) -> u32 {
    let Offloads { checksum, tso4, tso6, ecn } = allowed;
    // The kernel cuts nothing up for somebody who takes no checksums.
    let of = |on: bool, bit: u32| if on && checksum { bit } else { 0 };
    of(true, 1) | of(tso4, 2) | of(tso6, 4) | of(ecn && (tso4 || tso6), 8)
}

impl Wire for Interfaced {
    fn name(&self) -> String {
        format!("tap interface {}", self.tap.name())
    }

    fn file(&self) -> &OwnedFd {
        self.tap.file()
    }

    fn has_head(&self) -> bool {
        self.tap.has_header()
    }

    fn allow(&mut self, allowed: Offloads) {
        if !self.tap.has_header() {
            return;
        }
        if !self.first {
            self.allowed = allowed;
            return;
        }
        match self.tap.set_offload(flags(allowed)) {
            Ok(()) => self.allowed = allowed,
            // It goes on as before: what it leaves is done here, as far as it can be.
            Err(error) => tracing::debug!("network: {}: offloads: {error}", self.tap.name()),
        }
    }

    fn is_used(&self) -> bool {
        self.attached
    }

    fn use_it(&mut self, used: bool) {
        self.attached = used;
        if let Err(error) = self.tap.attach(used) {
            tracing::warn!("network: {}: a queue: {error}", self.tap.name());
        }
    }

    fn write(&mut self, packet: &[u8]) -> Result<(), Errno> {
        match rustix::io::write(self.tap.file(), packet) {
            // Longer than the interface takes, shorter than a header of Ethernet's, or with something left that makes no
            // sense: no wire would carry it.
            Ok(_) | Err(Errno::INVAL | Errno::MSGSIZE) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<Option<(Range<usize>, Offload)>, Errno> {
        let len = rustix::io::read(self.tap.file(), &mut *buffer)?;
        if !self.tap.has_header() {
            return Ok(Some((0..len, Offload::default())));
        }
        let Some((head, frame)) = buffer[..len].split_first_chunk_mut() else { return Ok(None) };
        let mut left = Offload::of_bytes(*head);
        if !self.allowed.allow(left) {
            if !complete(left, frame) {
                return Ok(None);
            }
            left = Offload::default();
        }
        Ok(Some((Offload::LEN..len, left)))
    }
}
