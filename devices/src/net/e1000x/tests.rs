//! What the scenarios of both cards have in common.

use std::sync::Arc;

use devices_core::net::{Nic, TestNet};
use devices_core::rig::Rig;
use devices_core::{DeviceCell, Size, Wake, Waker};

use super::spec::mdic;
use super::spec::reg;

pub const SLOT: u8 = 3;
pub const MEMORY: u64 = 0xe000_0000;
pub const PORTS: u16 = 0xc000;
pub const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
pub const BROADCAST: [u8; 6] = [0xff; 6];
pub const PIN: u32 = 11;
/// Where the tests have their rings and buffers; those of a queue 1 are 0x1000 higher.
pub const TX_RING: u64 = 0x1_0000;
pub const RX_RING: u64 = 0x2_0000;
pub const BUFFERS: u64 = 0x4_0000;
pub const DATA: u64 = 0x10_0000;
/// Descriptors of a ring: the fewest that RDLEN can say.
pub const RING: u32 = 8;

/// A card in a rig.
pub struct Card<'a, D: Nic> {
    pub rig: &'a mut Rig,
    pub net: Arc<TestNet>,
    pub slot: Arc<DeviceCell<D>>,
    pub waker: Waker,
}

impl<D: Nic> Card<'_, D> {
    pub fn read(&mut self, register: u32) -> u32 {
        self.rig.mmio_read(MEMORY + u64::from(register), Size::B4) as u32
    }
    pub fn write(&mut self, register: u32, value: u32) {
        self.rig.mmio_write(MEMORY + u64::from(register), Size::B4, value.into());
    }
    pub fn irq(&self) -> bool {
        self.rig.irq(PIN)
    }
    /// A register of the PHY.
    pub fn phy(&mut self, register: u32) -> u16 {
        self.write(reg::MDIC, mdic::READ | 1 << mdic::PHY_SHIFT | register << mdic::REGISTER_SHIFT);
        self.read(reg::MDIC) as u16
    }
    pub fn set_phy(&mut self, register: u32, value: u16) {
        let which = 1 << mdic::PHY_SHIFT | register << mdic::REGISTER_SHIFT;
        self.write(reg::MDIC, mdic::WRITE | which | u32::from(value));
    }
    /// A frame comes in.
    pub fn arrives(&mut self, frame: &[u8]) {
        self.net.give(frame);
        self.waker.wake(Wake::Backend(0));
    }
    pub fn set_link(&mut self, up: bool) {
        self.slot.lock().set_link(up);
    }
}

/// A frame of so many bytes for a station.
pub fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = [&to[..], &[2, 0, 0, 0, 0, 1, 0x88, 0xb5]].concat();
    frame.extend((frame.len()..len).map(|at| (at * 7 + at / 251) as u8));
    frame
}
