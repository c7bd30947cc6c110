//! Saved state of a local APIC.

use serde::{Deserialize, Serialize};

use super::Apic;
use super::spec::lvt;

/// Every register; `due` is relative to nothing: guest time is saved too.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
#[allow(missing_docs)]
pub struct State {
    pub id: u32,
    pub base: u64,
    pub tpr: u8,
    pub ldr: u32,
    pub dfr: u32,
    pub svr: u32,
    pub isr: [u32; 8],
    pub tmr: [u32; 8],
    pub irr: [u32; 8],
    pub esr: u32,
    pub esr_next: u32,
    pub icr: u64,
    pub lvt: [u32; lvt::COUNT],
    pub initial: u32,
    pub divide: u32,
    pub started: u64,
    #[serde(deserialize_with = "Option::deserialize")]
    pub due: Option<u64>,
    pub deadline: u64,
}

macro_rules! convert {
    ($from:ty, $to:ident) => {
        impl From<$from> for $to {
            #[rustfmt::skip]
            fn from(from: $from) -> $to {
                type From = $from;
                let From {
                    id, base, tpr, ldr, dfr, svr, isr, tmr, irr, esr, esr_next, icr, lvt, initial, divide, started,
                    due, deadline,
                } = from;
                $to {
                    id, base, tpr, ldr, dfr, svr, isr, tmr, irr, esr, esr_next, icr, lvt, initial, divide, started,
                    due, deadline,
                }
            }
        }
    };
}
convert!(Apic, State);
convert!(State, Apic);
