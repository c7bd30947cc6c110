//! A logical unit: a disk or a CD drive, and what all of them do (SPC-4).

use std::sync::Arc;

use devices_core::Node;
use devices_core::block::{BlockBackend, CompletionQueue, ErrorPolicy, Requests, Tray};
use devices_core::dma::Dma;
use devices_core::events::Watch;

use super::Cdb;
use super::cd::{self, Answer, Cd, Changed};
use super::disk::Disk;
use super::mode::{Header, Page, mode_sense};
use super::select::mode_select;
use super::spec::{FRAME, Sense, device_type, key, op, sense};
use super::work::{Job, Work};
use crate::storage::geometry::Geometry;

/// Names and numbers in INQUIRY. Those that are none are QEMU's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Vendor; 8 characters count.
    pub vendor: Option<String>,
    /// Product; 16 characters count.
    pub product: Option<String>,
    /// Revision; 4 characters count.
    pub version: Option<String>,
    /// Serial number, up to 36 characters; none: the page is not there.
    pub serial: Option<String>,
    /// The unit's name in the page of identifiers; none: the serial number.
    pub device_id: Option<String>,
    /// World wide name; 0: it has none.
    pub wwn: u64,
}

impl Labels {
    pub(super) fn version(&self) -> &str {
        self.version.as_deref().unwrap_or("2.5+")
    }
}

/// What is in a unit.
#[derive(Clone)]
pub enum Medium {
    /// A disk.
    Disk {
        /// Where the data is.
        backend: Arc<dyn BlockBackend>,
        /// Cylinders, heads and sectors that it claims.
        geometry: Geometry,
        /// Bytes of a block, a power of two from 512 on.
        block: u32,
        /// Bytes of a physical block; none: the medium's.
        physical_block: Option<u32>,
        /// Bytes that are given back at once; 0: none are.
        discard_granularity: u32,
        /// Rotations in a minute; 1: it does not rotate; 0: it does not say.
        rotation_rate: u16,
        /// It can be taken out.
        removable: bool,
        /// It offers to bypass the cache, write by write.
        fua: bool,
    },
    /// A CD drive, and what lies in it.
    Cd(Option<Arc<dyn BlockBackend>>),
}

/// What a unit is made with.
#[derive(Clone)]
pub struct UnitOptions {
    /// Disk or CD drive.
    pub medium: Medium,
    /// What it says of itself.
    pub labels: Labels,
    /// Who hears of its tray and its errors.
    pub watch: Watch,
    /// What is done about these.
    pub errors: ErrorPolicy,
}

impl UnitOptions {
    /// One that nobody watches.
    pub fn new(medium: Medium, labels: Labels) -> UnitOptions {
        UnitOptions { medium, labels, watch: Watch::default(), errors: ErrorPolicy::REPORT }
    }
}

/// What a unit is.
pub(super) enum Kind {
    Disk(Box<Disk>),
    Cd(Box<Cd>),
}

/// A logical unit.
pub struct Unit {
    pub(super) kind: Kind,
    pub(super) labels: Labels,
    pub(super) requests: Requests,
    /// What the guest has not been told of, the first one first; each once.
    pub(super) attentions: Vec<Sense>,
}

/// What comes of a command.
pub(super) enum Reply {
    /// Nothing more.
    Done,
    /// It failed.
    Check(Sense),
    /// Data for who sent it.
    Data(Vec<u8>),
    /// The medium has something to do.
    Medium(Work),
}

impl From<Result<Vec<u8>, Sense>> for Reply {
    fn from(result: Result<Vec<u8>, Sense>) -> Reply {
        result.map_or_else(Reply::Check, Reply::Data)
    }
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Reply {
        match answer {
            Answer::Done => Reply::Done,
            Answer::Check(sense) => Reply::Check(sense),
            Answer::Data(data) => Reply::Data(data),
            Answer::Frames { lba, frames, raw: true } => Reply::Medium(Work::ReadRaw { lba, left: frames }),
            Answer::Frames { lba, frames, raw: false } => {
                Reply::Medium(Work::Read { at: u64::from(lba) * FRAME, len: u64::from(frames) * FRAME })
            }
        }
    }
}

/// Commands that work in spite of a unit attention (SAM-5, 5.14.2; MMC-5, 4.1.6).
fn always(code: u8) -> bool {
    matches!(code, op::REQUEST_SENSE | op::INQUIRY | op::GET_CONFIGURATION | op::GET_EVENT_STATUS)
}

impl Unit {
    /// A unit that was just switched on, whose medium answers through `done`, and its tray wakes `tray`.
    pub fn new(options: UnitOptions, done: CompletionQueue, tray: Tray) -> Unit {
        let UnitOptions { medium, labels, watch, errors } = options;
        let kind = match medium {
            Medium::Cd(medium) => {
                let mut cd = Cd::new(medium, tray);
                cd.watch = watch.clone();
                Kind::Cd(Box::new(cd))
            }
            disk => Kind::Disk(Box::new(Disk::new(disk))),
        };
        let requests = Requests::new(done);
        requests.on_errors(errors, watch);
        Unit { kind, labels, requests, attentions: vec![sense::RESET] }
    }

    /// The hand on its tray, if it has one.
    pub fn tray(&self) -> Option<Tray> {
        match &self.kind {
            Kind::Cd(cd) => Some(cd.tray()),
            Kind::Disk(_) => None,
        }
    }

    pub(super) fn device_type(&self) -> u8 {
        match self.kind {
            Kind::Disk(_) => device_type::DISK,
            Kind::Cd(_) => device_type::CD,
        }
    }

    pub(super) fn removable(&self) -> bool {
        match &self.kind {
            Kind::Disk(disk) => disk.removable(),
            Kind::Cd(_) => true,
        }
    }

    /// Bytes of a block.
    pub(super) fn block(&self) -> u64 {
        match &self.kind {
            Kind::Disk(disk) => disk.block(),
            Kind::Cd(_) => FRAME,
        }
    }

    /// Where requests go; none: there is no medium.
    pub(super) fn backend(&self) -> Option<&Arc<dyn BlockBackend>> {
        match &self.kind {
            Kind::Disk(disk) => Some(disk.backend()),
            Kind::Cd(cd) => cd.ready(),
        }
    }

    /// Something has changed that the guest is to hear of.
    pub(super) fn attend(&mut self, sense: Sense) {
        if !self.attentions.contains(&sense) {
            self.attentions.push(sense);
        }
    }

    /// Forgets that the guest is to hear of that.
    pub(super) fn told(&mut self, what: Sense) {
        self.attentions.retain(|&sense| sense != what);
    }

    /// As after power-on; tray and medium stay as they are.
    pub(super) fn reset(&mut self) {
        match &mut self.kind {
            Kind::Disk(disk) => disk.reset(),
            Kind::Cd(cd) => cd.reset(),
        }
        self.attentions = vec![sense::RESET];
    }

    /// What the monitor has done to the tray.
    pub(super) fn tray_changed(&mut self) {
        let Kind::Cd(cd) = &mut self.kind else { return };
        cd.take_changes();
        self.medium_changed();
    }

    /// Has the guest told of a medium that changed, if it did.
    pub(super) fn medium_changed(&mut self) {
        let Kind::Cd(cd) = &mut self.kind else { return };
        // First the old medium has gone, then there may be another.
        if std::mem::take(&mut cd.state.changed) == Changed::Gone {
            let ready = cd.ready().is_some();
            self.told(sense::MEDIUM_CHANGED);
            self.attend(sense::MEDIUM_GONE);
            if ready {
                self.attend(sense::MEDIUM_CHANGED);
            }
        }
    }

    /// Carries out a command, whose parameters `list` are.
    pub(super) fn execute(&mut self, cdb: &Cdb, list: &[u8]) -> Reply {
        let code = cdb.op();
        if !always(code) && !self.attentions.is_empty() {
            return Reply::Check(self.attentions.remove(0));
        }
        match code {
            op::REQUEST_SENSE => {
                let sense = if self.attentions.is_empty() { sense::NONE } else { self.attentions.remove(0) };
                Reply::Data(request_sense(cdb, sense))
            }
            op::INQUIRY => self.inquiry(cdb).into(),
            op::MODE_SENSE_6 | op::MODE_SENSE_10 => mode_sense(cdb, &self.header(), &self.pages()).into(),
            op::MODE_SELECT_6 | op::MODE_SELECT_10 => match mode_select(cdb, list, &self.pages()) {
                Ok(pages) => self.set_pages(&pages),
                Err(sense) => Reply::Check(sense),
            },
            // One initiator has all units for itself.
            op::RESERVE_6 | op::RELEASE_6 | op::RESERVE_10 | op::RELEASE_10 => Reply::Done,
            // Only the unit's own test, which it passes.
            op::SEND_DIAGNOSTIC if cdb.byte(1) & 4 != 0 => Reply::Done,
            op::SEND_DIAGNOSTIC => Reply::Check(sense::FIELD),
            _ => match &mut self.kind {
                Kind::Disk(disk) => disk.execute(cdb, list),
                Kind::Cd(cd) => cd.execute(cdb).into(),
            },
        }
    }

    fn header(&self) -> Header {
        match &self.kind {
            Kind::Disk(disk) => disk.header(),
            Kind::Cd(_) => Header { medium: 0, device: 0, block: None },
        }
    }

    fn pages(&self) -> Vec<Page> {
        match &self.kind {
            Kind::Disk(disk) => disk.pages(),
            Kind::Cd(cd) => cd::mode_pages(cd.state.locked),
        }
    }

    fn set_pages(&mut self, pages: &[(u8, Vec<u8>)]) -> Reply {
        match &mut self.kind {
            Kind::Disk(disk) => disk.set_pages(pages),
            Kind::Cd(_) => Reply::Done,
        }
    }

    /// Sense data of a command that failed, as the unit reports it.
    pub(super) fn sense_data(&self, sense: Sense) -> Vec<u8> {
        match &self.kind {
            Kind::Disk(disk) if disk.descriptor_sense() => sense.descriptor(),
            _ => sense.fixed(),
        }
    }

    /// Sends what a job needs now to the medium.
    pub(super) fn send(&self, dma: &Dma, job: &mut Job) -> Sent {
        let Some(backend) = self.backend() else { return Sent::NoMedium };
        let (what, at, payload) = job.request(dma);
        job.flight = self.requests.submit(backend, what, at, payload);
        if job.flight.is_some() { Sent::Taken } else { Sent::Refused }
    }

    pub(super) fn inspect(&self, node: &mut Node) {
        match &self.kind {
            Kind::Disk(disk) => disk.inspect(node),
            Kind::Cd(cd) => {
                node.value("kind", "cd");
                cd.inspect(node);
            }
        }
        node.value("serial", self.labels.serial.as_deref().unwrap_or_default());
        let attentions: Vec<String> = self
            .attentions
            .iter()
            .map(|sense| format!("{:02x}/{:02x}", sense.code, sense.qualifier))
            .collect();
        node.value("attentions", attentions.join(" ")).value("drained", self.requests.drained());
    }
}

/// Whether the medium has taken a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Taken,
    /// It takes no more.
    Refused,
    NoMedium,
}

/// REQUEST SENSE (SPC-4, 6.39), in the format that is asked for.
pub(super) fn request_sense(cdb: &Cdb, sense: Sense) -> Vec<u8> {
    let mut data = if cdb.byte(1) & 1 != 0 { sense.descriptor() } else { sense.fixed() };
    data.truncate(cdb.byte(4).into());
    data
}

/// Whether that can be a unit attention, in a saved state.
pub(super) fn is_attention(sense: Sense) -> bool {
    sense.key == key::UNIT_ATTENTION
}
