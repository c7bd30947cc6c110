//! Virtio memory balloon (Virtio 1.3, 5.5): the guest puts pages into it that it does not use, and the host takes them
//! back.
//!
//! The monitor says how many pages are to be in it; the driver names them, and they read as zeros from then on. The host
//! is not asked before they are used again. With `free-page-reporting` the driver also tells of pages that are free
//! anyway: of a guest that is saved, these need no room either, so hints of free pages (`free-page-hint`) are left out.
//! Where the memory is another domain's, or a recording is made, the driver sees no difference and the host gets nothing.
//!
//! A page number is a hint of the guest's: one that is none is passed over, as QEMU does. Of one request the first
//! [`MOST`] count.

pub mod model;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::balloon::{Balloon, STATISTICS, Statistics};
use devices_core::events::{DeviceEvent, Observer};
use devices_core::model::Model;
use devices_core::{Node, StateError, Timer, Wake, Wiring};
use hypervisor::{GuestRam, memory};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use super::common::Common;
use super::device::{Identity, VirtioDevice};
use super::pci::VirtioPci;
use super::queue::{Chain, len, read_at};
use super::spec::device_id;
use spec::{PAGE, STAT_LEN, config, feature, queue};
pub use state::State;

/// Elements of each queue; QEMU's of reported pages has fewer.
const QUEUE_SIZE: u16 = 128;
const REPORTING_SIZE: u16 = 32;
/// Most page numbers of one request that are looked at.
pub const MOST: usize = 16 << 10;
/// Most statistics of one answer that are looked at.
const MOST_STATISTICS: usize = 32;
/// Most requests of one call.
const BURST: usize = 16;
/// Numbers of timers: it goes on with requests that one call left; it asks for statistics.
const GO_ON: u32 = 0;
const ASK: u32 = 1;

/// What the device offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The guest takes pages back before it kills a process for memory.
    pub deflate_on_oom: bool,
    /// The guest tells of free pages.
    pub reporting: bool,
    /// The guest may tell what it fills free pages with.
    pub poison: bool,
}

/// The device.
pub struct VirtioBalloon {
    model: &'static Model,
    options: Options,
    ram: GuestRam,
    observer: Arc<dyn Observer>,
    wiring: Wiring,
    ask: Timer,
    go_on: Timer,
    /// Pages that the host wants.
    target: u32,
    /// Pages that it has, as the driver says.
    actual: u32,
    poison: u32,
    statistics: Statistics,
    /// Seconds.
    polling: u32,
    /// When the guest is asked next.
    asks: Option<u64>,
    /// The buffer in which the driver answers, until it is asked.
    answer: Option<Chain>,
    goes_on: Option<u64>,
    chain: Chain,
    quiet: bool,
}

impl VirtioBalloon {
    /// A device that is empty.
    pub fn new(
        model: &'static Model,
        options: Options,
        wiring: &Wiring,
        ram: &GuestRam,
        observer: Arc<dyn Observer>,
    ) -> VirtioBalloon {
        VirtioBalloon {
            model,
            options,
            ram: ram.clone(),
            observer,
            wiring: wiring.clone(),
            ask: wiring.timer(ASK),
            go_on: wiring.timer(GO_ON),
            target: 0,
            actual: 0,
            poison: 0,
            statistics: Statistics::default(),
            polling: 0,
            asks: None,
            answer: None,
            goes_on: None,
            chain: Chain::default(),
            quiet: false,
        }
    }

    /// Bytes of the guest's RAM.
    fn ram(&self) -> u64 {
        self.ram.iter().map(GuestMemoryRegion::len).sum()
    }

    /// The same in pages.
    fn pages(&self) -> u32 {
        u32::try_from(self.ram() / PAGE).unwrap_or(u32::MAX)
    }

    fn actual_bytes(&self) -> u64 {
        self.ram().saturating_sub(u64::from(self.actual) * PAGE)
    }

    /// Takes a queue's requests. False: there may be more.
    fn serve(&mut self, common: &mut Common, number: u16) -> bool {
        let mut chain = std::mem::take(&mut self.chain);
        let mut done = false;
        for _ in 0..BURST {
            if !common.pop(number, &mut chain) {
                if common.enable_notification(number) {
                    continue;
                }
                done = true;
                break;
            }
            match number {
                queue::INFLATE => self.inflate(common, &chain),
                queue::REPORTING => self.take_reported(common, &chain),
                _ => {}
            }
            common.push(number, &chain, 0);
        }
        self.chain = chain;
        done
    }

    fn serve_all(&mut self, common: &mut Common) {
        if self.quiet {
            return;
        }
        let reporting = self.options.reporting.then_some(queue::REPORTING);
        let mut done = true;
        for number in [queue::INFLATE, queue::DEFLATE].into_iter().chain(reporting) {
            done &= self.serve(common, number);
        }
        self.take_answer(common);
        if !done {
            self.set_go_on(Some(self.wiring.now()));
        }
    }

    /// Pages go into the balloon: numbers of 32 bits.
    fn inflate(&mut self, common: &Common, chain: &Chain) {
        let count = (len(&chain.readable) / 4).min(MOST as u64) as usize;
        let mut bytes = vec![0; count * 4];
        if read_at(common.dma(), &chain.readable, 0, &mut bytes).is_none() {
            return;
        }
        let mut pages: Vec<u32> =
            bytes.chunks_exact(4).map(|number| number.try_into().map_or(0, u32::from_le_bytes)).collect();
        pages.sort_unstable();
        pages.dedup();
        for run in pages.chunk_by(|one, next| one.checked_add(1) == Some(*next)) {
            let first = run.first().map_or(0, |first| u64::from(*first));
            memory::discard(&self.ram, first * PAGE, run.len() as u64 * PAGE);
        }
    }

    /// Pages that are free, as buffers.
    fn take_reported(&mut self, common: &Common, chain: &Chain) {
        // What the guest expects in them must stay there.
        if common.has(feature::PAGE_POISON) && self.poison != 0 {
            return;
        }
        for segment in &chain.writable {
            let (from, end) = (segment.gpa.next_multiple_of(PAGE), segment.gpa + u64::from(segment.len));
            let end = end - end % PAGE;
            if from < end {
                memory::discard(&self.ram, from, end - from);
            }
        }
    }

    /// The driver's statistics: the buffer stays with the device until it asks again.
    fn take_answer(&mut self, common: &mut Common) {
        if self.answer.is_some() {
            return;
        }
        let mut chain = Chain::default();
        while !common.pop(queue::STATS, &mut chain) {
            if !common.enable_notification(queue::STATS) {
                return;
            }
        }
        let mut bytes = vec![0; (len(&chain.readable) as usize).min(MOST_STATISTICS * STAT_LEN)];
        if read_at(common.dma(), &chain.readable, 0, &mut bytes).is_some() {
            self.statistics = read_statistics(&bytes, self.wiring.now());
        }
        self.answer = Some(chain);
    }

    /// Gives the driver its buffer back, to fill it anew.
    fn ask_now(&mut self, common: &mut Common) {
        if let Some(chain) = self.answer.take() {
            common.push(queue::STATS, &chain, 0);
        }
        self.take_answer(common);
    }

    fn set_polling_from(&mut self, seconds: u32) {
        self.polling = seconds;
        let after =
            (seconds > 0).then(|| self.wiring.now().saturating_add(u64::from(seconds) * 1_000_000_000));
        self.set_asks(after);
    }

    fn set_asks(&mut self, deadline: Option<u64>) {
        self.asks = deadline;
        arm(&mut self.ask, deadline);
    }

    fn set_go_on(&mut self, deadline: Option<u64>) {
        self.goes_on = deadline;
        arm(&mut self.go_on, deadline);
    }

    fn config(&self) -> [u8; config::LEN] {
        let mut all = [0; config::LEN];
        for (at, value) in
            [(config::NUM_PAGES, self.target), (config::ACTUAL, self.actual), (config::POISON, self.poison)]
        {
            all[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        all
    }
}

fn arm(timer: &mut Timer, deadline: Option<u64>) {
    match deadline {
        Some(deadline) => timer.arm(deadline),
        None => timer.cancel(),
    }
}

/// Tags and values, of which the later ones count.
fn read_statistics(bytes: &[u8], now: u64) -> Statistics {
    let mut told = Statistics { told: Some(now), ..Statistics::default() };
    for one in bytes.chunks_exact(STAT_LEN) {
        let (tag, value) = one.split_at(2);
        let tag = tag.try_into().map_or(u16::MAX, u16::from_le_bytes);
        let value = value.try_into().map_or(0, u64::from_le_bytes);
        if let Some(to) = told.values.get_mut(usize::from(tag)) {
            *to = Some(value);
        }
    }
    told
}

impl VirtioDevice for VirtioBalloon {
    type State = State;

    const KIND: &'static str = "virtio-balloon";

    fn model(&self) -> Option<&'static Model> {
        Some(self.model)
    }
    fn identity(&self) -> Identity {
        Identity { id: device_id::BALLOON, transitional: Some(0x1002), class: 0x00_ff_00 }
    }
    fn features(&self) -> u64 {
        let Options { deflate_on_oom, reporting, poison } = self.options;
        let of = |on: bool, bit: u64| if on { bit } else { 0 };
        feature::STATS_VQ
            | of(deflate_on_oom, feature::DEFLATE_ON_OOM)
            | of(poison, feature::PAGE_POISON)
            | of(reporting, feature::REPORTING)
    }
    fn queue_sizes(&self) -> Vec<u16> {
        let mut sizes = vec![QUEUE_SIZE; 3];
        if self.options.reporting {
            sizes.push(REPORTING_SIZE);
        }
        sizes
    }
    fn config_len(&self) -> usize {
        if self.options.poison { config::LEN } else { config::SHORT }
    }
    fn read_config(&self, _common: &Common, offset: usize, data: &mut [u8]) {
        let all = self.config();
        let there = all.get(offset..self.config_len()).unwrap_or_default();
        data.iter_mut().zip(there).for_each(|(to, from)| *to = *from);
    }
    fn write_config(&mut self, common: &mut Common, offset: usize, data: &[u8]) {
        let mut all = self.config();
        let there = all.get_mut(offset..self.config_len()).unwrap_or_default();
        there.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
        let word = |at: usize| all[at..at + 4].try_into().map_or(0, u32::from_le_bytes);
        let before = std::mem::replace(&mut self.actual, word(config::ACTUAL));
        if before != self.actual {
            self.observer.observe(DeviceEvent::BalloonMoved { actual: self.actual_bytes() });
        }
        if common.has(feature::PAGE_POISON) {
            self.poison = word(config::POISON);
        }
    }

    fn notified(&mut self, common: &mut Common, number: u16) {
        let done = match number {
            _ if self.quiet => true,
            queue::STATS => {
                self.take_answer(common);
                true
            }
            number => self.serve(common, number),
        };
        if !done {
            self.set_go_on(Some(self.wiring.now()));
        }
    }
    fn wake(&mut self, common: &mut Common, why: Wake) {
        let now = self.wiring.now();
        let is_due = |deadline: Option<u64>| deadline.is_some_and(|deadline| deadline <= now);
        if why == Wake::Timer(GO_ON) && is_due(self.goes_on) {
            self.set_go_on(None);
            self.serve_all(common);
        }
        if why == Wake::Timer(ASK) && is_due(self.asks) {
            self.set_polling_from(self.polling);
            if !self.quiet {
                self.ask_now(common);
            }
        }
    }
    fn reset(&mut self) {
        self.set_go_on(None);
        self.quiet = false;
        (self.answer, self.poison) = (None, 0);
        // The pages are the guest's again. What the host wants, it still wants, and goes on to ask.
        self.actual = 0;
        self.statistics = Statistics::default();
    }
    fn reset_queue(&mut self, _common: &mut Common, queue: u16) {
        if queue == queue::STATS {
            self.answer = None;
        }
    }
    fn quiesce(&mut self, _common: &mut Common) -> bool {
        self.quiet = true;
        true
    }
    fn resume(&mut self, _common: &mut Common) {
        self.quiet = false;
    }

    fn save(&self) -> State {
        state::save(self)
    }
    fn load(&mut self, common: &mut Common, state: State) -> Result<(), StateError> {
        state::load(self, common, state)
    }
    fn inspect(&self, node: &mut Node) {
        node.value("pages", format_args!("{} of {} wanted", self.actual, self.target));
        for (name, value) in STATISTICS.iter().zip(self.statistics.values) {
            if let Some(value) = value {
                node.value(name, value);
            }
        }
    }
}

impl Balloon for VirtioPci<VirtioBalloon> {
    fn set_target(&mut self, bytes: u64) {
        self.with(|balloon, common| {
            let given = balloon.ram().saturating_sub(bytes) / PAGE;
            balloon.target = u32::try_from(given).unwrap_or(u32::MAX);
            common.change_config();
        });
    }
    fn actual(&self) -> u64 {
        self.device().actual_bytes()
    }
    fn statistics(&self) -> Statistics {
        self.device().statistics
    }
    fn polling(&self) -> u32 {
        self.device().polling
    }
    fn set_polling(&mut self, seconds: u32) {
        self.with(|balloon, _| balloon.set_polling_from(seconds));
    }
}
