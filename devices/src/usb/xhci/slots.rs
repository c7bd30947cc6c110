//! Slots and endpoints, and the contexts in guest memory that tell of them (4.5, 4.8, 6.2).
//!
//! A context is read when a command says so, checked, and kept; what the guest does to it afterwards changes nothing.

use std::collections::BTreeMap;

use super::Xhci;
use super::ring::Ring;
use super::spec::{CONTEXT, ENDPOINTS, code};

/// State of a slot (table 60).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum SlotState {
    #[default]
    Enabled = 0,
    Default = 1,
    Addressed = 2,
    Configured = 3,
}

/// State of an endpoint (table 61).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum EndpointState {
    Running = 1,
    Halted = 2,
    Stopped = 3,
    Error = 4,
}

/// The type of endpoint that goes both ways (table 62); those above it are IN.
const CONTROL: u8 = 4;

/// An endpoint, which has a transfer ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) kind: u8,
    pub(super) state: EndpointState,
    pub(super) ring: Ring,
    /// Bytes that were moved of the TD at the ring's place.
    pub(super) done: u64,
    /// There is something to do, for which the device has no answer yet, or the event ring no room.
    pub(super) waiting: bool,
    /// The device has been asked for the TD at the ring's place.
    pub(super) asked: bool,
}

/// A slot that is enabled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) state: SlotState,
    /// Root hub port, from 1; 0: no device.
    pub(super) port: u8,
    /// The ports of hubs behind it that lead to the device (8.9 of USB 3.0).
    pub(super) route: u32,
    /// The output context.
    pub(super) context: u64,
    /// By their numbers from 1 on (DCI).
    pub(super) endpoints: BTreeMap<u8, Endpoint>,
}

/// The route string in a slot context's first word.
pub(super) const ROUTE: u32 = 0xf_ffff;

/// Words of a context.
pub(super) type Words = [u32; 8];

impl Endpoint {
    /// From its context.
    pub(super) fn of(words: &Words) -> Option<Endpoint> {
        let kind = (words[1] >> 3 & 7) as u8;
        // Streams are not offered.
        let streams = words[0] >> 10 & 0x1f;
        (kind != 0 && streams == 0).then(|| Endpoint {
            kind,
            state: EndpointState::Running,
            ring: Ring::new(u64::from(words[2]) | u64::from(words[3]) << 32),
            done: 0,
            waiting: false,
            asked: false,
        })
    }

    /// It begins another TD.
    pub(super) fn forget(&mut self) {
        (self.done, self.waiting, self.asked) = (0, false, false);
    }
}

impl Xhci {
    /// The slot of that number, from 1, if it is enabled.
    pub(super) fn slot(&mut self, number: u8) -> Option<&mut Slot> {
        self.slots.get_mut(usize::from(number).checked_sub(1)?)?.as_mut()
    }

    pub(super) fn endpoint(&mut self, slot: u8, endpoint: u8) -> Option<&mut Endpoint> {
        self.slot(slot)?.endpoints.get_mut(&endpoint)
    }

    /// Words of a context.
    pub(super) fn words(&self, at: u64) -> Option<Words> {
        let mut bytes = [[0; 4]; 8];
        self.dma.read(at, bytes.as_flattened_mut()).ok()?;
        Some(bytes.map(u32::from_le_bytes))
    }

    pub(super) fn put_words(&self, at: u64, words: &[u32]) -> bool {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.dma.write(at, &bytes).is_ok()
    }

    /// Says in an endpoint's context how it is. A context that is no memory any more is the guest's fault.
    pub(super) fn tell_endpoint(&mut self, slot: u8, number: u8) {
        let Some((at, state, ring)) = self.slot(slot).and_then(|slot| {
            let endpoint = slot.endpoints.get(&number)?;
            Some((slot.context + u64::from(number) * CONTEXT, endpoint.state, endpoint.ring))
        }) else {
            return;
        };
        if let Some(words) = self.words(at) {
            let pointer = ring.pointer();
            self.put_words(at, &[words[0] & !7 | state as u32]);
            self.put_words(at + 8, &[pointer as u32, (pointer >> 32) as u32]);
        }
    }

    /// An endpoint is in another state.
    pub(super) fn set_state(&mut self, slot: u8, endpoint: u8, state: EndpointState) {
        if let Some(endpoint) = self.endpoint(slot, endpoint) {
            endpoint.state = state;
            endpoint.waiting = false;
        }
        self.tell_endpoint(slot, endpoint);
    }

    /// An endpoint comes, with the context that the driver gives it.
    fn open(&mut self, slot: u8, number: u8, words: &Words) -> Result<(), u8> {
        let endpoint = Endpoint::of(words).ok_or(code::TRB)?;
        // The control endpoint goes both ways, the others have one.
        let control = endpoint.kind == CONTROL;
        let inward = endpoint.kind > CONTROL;
        if control != (number == 1) || !control && inward != (number % 2 == 1) {
            return Err(code::TRB);
        }
        let of = self.slot(slot).ok_or(code::SLOT)?;
        let at = of.context + u64::from(number) * CONTEXT;
        of.endpoints.insert(number, endpoint);
        let mut words = *words;
        words[0] = words[0] & !7 | EndpointState::Running as u32;
        self.put_words(at, &words).then_some(()).ok_or(code::PARAMETER)
    }

    /// An endpoint goes.
    pub(super) fn close(&mut self, slot: u8, number: u8) {
        let Some(of) = self.slot(slot) else { return };
        let at = of.context + u64::from(number) * CONTEXT;
        if of.endpoints.remove(&number).is_some() {
            self.put_words(at, &[0]);
        }
    }

    fn close_all(&mut self, slot: u8) {
        (2..=ENDPOINTS).for_each(|number| self.close(slot, number));
    }

    /// Says in a slot's context how it is; `entries` is how many contexts count, if that changes.
    fn tell_slot(&mut self, slot: u8, entries: Option<u32>) -> Result<(), u8> {
        let Slot { state, context, .. } = *self.slot(slot).ok_or(code::SLOT)?;
        let mut words = self.words(context).ok_or(code::PARAMETER)?;
        if let Some(entries) = entries {
            words[0] = words[0] & !(0x1f << 27) | entries << 27;
        }
        let address = if state >= SlotState::Addressed { u32::from(slot) } else { 0 };
        words[3] = (state as u32) << 27 | address;
        self.put_words(context, &words).then_some(()).ok_or(code::PARAMETER)
    }

    /// Address device (4.6.5): a slot has a device.
    pub(super) fn address(&mut self, slot: u8, input: u64, blocked: bool) -> Result<(), u8> {
        let state = self.slot(slot).ok_or(code::SLOT)?.state;
        let fits = if blocked { state == SlotState::Enabled } else { state <= SlotState::Default };
        if !fits {
            return Err(code::CONTEXT_STATE);
        }
        let [drop, add, ..] = self.words(input).ok_or(code::PARAMETER)?;
        if drop != 0 || add != 3 {
            return Err(code::TRB);
        }
        let mut words = self.words(input + CONTEXT).ok_or(code::PARAMETER)?;
        let control = self.words(input + 2 * CONTEXT).ok_or(code::PARAMETER)?;
        let port = (words[1] >> 16) as u8;
        let route = words[0] & ROUTE;
        let there = match route {
            0 => self.function(port).is_some(),
            _ => self.routed(port, route).is_some(),
        };
        if !there {
            return Err(code::TRANSACTION);
        }
        let others = self.slots.iter().zip(1u8..).filter(|(_, number)| *number != slot);
        if { others }.any(|(of, _)| of.as_ref().is_some_and(|of| (of.port, of.route) == (port, route))) {
            return Err(code::TRB);
        }
        let entry = self.registers.dcbaap.wrapping_add(8 * u64::from(slot));
        let context = self.dma.read_u64(entry).map_err(|_| code::PARAMETER)? & !0x3f;
        if self.dma.validate(context, CONTEXT * 32).is_err() {
            return Err(code::PARAMETER);
        }
        let to = if blocked { SlotState::Default } else { SlotState::Addressed };
        let of = self.slot(slot).ok_or(code::SLOT)?;
        (of.port, of.route, of.context, of.state) = (port, route, context, to);
        self.open(slot, 1, &control)?;
        words[3] = 0;
        self.put_words(context, &words);
        self.tell_slot(slot, None)?;
        if blocked { Ok(()) } else { self.set_address(port, route, slot) }
    }

    /// Configure endpoint (4.6.6).
    pub(super) fn configure(&mut self, slot: u8, input: u64, none: bool) -> Result<(), u8> {
        let state = self.slot(slot).ok_or(code::SLOT)?.state;
        if state < SlotState::Addressed {
            return Err(code::CONTEXT_STATE);
        }
        if none {
            self.close_all(slot);
            self.slot(slot).ok_or(code::SLOT)?.state = SlotState::Addressed;
            return self.tell_slot(slot, Some(1));
        }
        let [drop, add, ..] = self.words(input).ok_or(code::PARAMETER)?;
        if drop & 3 != 0 || add & 3 != 1 {
            return Err(code::TRB);
        }
        let entries = self.words(input + CONTEXT).ok_or(code::PARAMETER)?[0] >> 27;
        for number in 2..=ENDPOINTS {
            if (drop | add) >> number & 1 != 0 {
                self.close(slot, number);
            }
            if add >> number & 1 != 0 {
                let at = input + CONTEXT * (1 + u64::from(number));
                let words = self.words(at).ok_or(code::PARAMETER)?;
                self.open(slot, number, &words)?;
            }
        }
        self.slot(slot).ok_or(code::SLOT)?.state = SlotState::Configured;
        self.tell_slot(slot, Some(entries))
    }

    /// Evaluate context (4.6.7).
    pub(super) fn evaluate(&mut self, slot: u8, input: u64) -> Result<(), u8> {
        let Slot { state, context, .. } = *self.slot(slot).ok_or(code::SLOT)?;
        if state == SlotState::Enabled {
            return Err(code::CONTEXT_STATE);
        }
        let [drop, add, ..] = self.words(input).ok_or(code::PARAMETER)?;
        if drop != 0 || add & !3 != 0 {
            return Err(code::TRB);
        }
        // Of each only these fields count: latency and interrupter, and the longest packet.
        let copied: [(u32, u64, usize, u32); 3] =
            [(1, CONTEXT, 1, 0xffff), (1, CONTEXT, 2, 0xffc0_0000), (2, 2 * CONTEXT, 1, 0xffff_0000)];
        for (bit, at, word, mask) in copied.into_iter().filter(|(bit, ..)| add & bit != 0) {
            let from = self.words(input + at).ok_or(code::PARAMETER)?;
            let place = context + u64::from(bit - 1) * CONTEXT;
            let to = self.words(place).ok_or(code::PARAMETER)?;
            let value = to[word] & !mask | from[word] & mask;
            self.put_words(place + 4 * word as u64, &[value]).then_some(()).ok_or(code::PARAMETER)?;
        }
        Ok(())
    }

    /// Reset device (4.6.11): after its port was reset.
    pub(super) fn reset_device(&mut self, slot: u8) -> Result<(), u8> {
        let of = self.slot(slot).ok_or(code::SLOT)?;
        if of.state < SlotState::Addressed {
            return Err(code::CONTEXT_STATE);
        }
        of.state = SlotState::Default;
        self.close_all(slot);
        if let Some(control) = self.endpoint(slot, 1) {
            control.forget();
        }
        self.tell_slot(slot, Some(1))
    }

    /// Disable slot (4.6.4).
    pub(super) fn disable(&mut self, slot: u8) -> Result<(), u8> {
        let of = self.slot(slot).ok_or(code::SLOT)?;
        let context = of.context;
        let had = of.state != SlotState::Enabled;
        (1..=ENDPOINTS).for_each(|number| self.close(slot, number));
        if let Some(of) = self.slots.get_mut(usize::from(slot) - 1) {
            *of = None;
        }
        if had {
            self.put_words(context + 12, &[0]);
        }
        Ok(())
    }
}
