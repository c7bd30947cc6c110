//! The owned request: what every hypervisor hands to the bus.

use std::fmt;

/// Segment, bus, device and function of a PCI function, packed as Xen packs it:
/// `segment << 16 | bus << 8 | device << 3 | function`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sbdf(pub u32);

impl Sbdf {
    /// Function `function` (0-7) of device `device` (0-31) on bus 0 of segment 0.
    pub const fn bus0(device: u8, function: u8) -> Sbdf {
        Sbdf(((device as u32 & 31) << 3) | (function as u32 & 7))
    }
    /// Bus number.
    pub const fn bus(self) -> u8 {
        (self.0 >> 8) as u8
    }
    /// Device number, 0-31.
    pub const fn device(self) -> u8 {
        (self.0 >> 3) as u8 & 31
    }
    /// Function number, 0-7.
    pub const fn function(self) -> u8 {
        self.0 as u8 & 7
    }
}

impl fmt::Debug for Sbdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{}", self.0 >> 16, self.bus(), self.device(), self.function())
    }
}

/// Direction of an access, seen from the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dir {
    /// The guest reads from the device.
    Read,
    /// The guest writes to the device.
    Write,
}

/// Width of one item of an access, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Size {
    /// One byte.
    B1 = 1,
    /// Two bytes.
    B2 = 2,
    /// Four bytes.
    B4 = 4,
    /// Eight bytes (memory accesses only).
    B8 = 8,
}

impl Size {
    /// The size that is `n` bytes, if there is one.
    pub const fn new(n: u32) -> Option<Size> {
        match n {
            1 => Some(Size::B1),
            2 => Some(Size::B2),
            4 => Some(Size::B4),
            8 => Some(Size::B8),
            _ => None,
        }
    }
    /// Width in bytes: 1, 2, 4 or 8.
    pub const fn bytes(self) -> usize {
        self as usize
    }
    /// All ones in this width: what an unanswered read gives.
    pub const fn mask(self) -> u64 {
        u64::MAX >> (64 - 8 * self as u32)
    }
}

/// Where an access goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// An I/O port. Always 16 bits wide (XSA-199).
    Pio(u16),
    /// A guest-physical address.
    Mmio(u64),
    /// A register of a function's configuration space.
    PciConfig {
        /// The function.
        sbdf: Sbdf,
        /// Byte offset of the first byte, 0-0xfff.
        reg: u16,
    },
    /// The guest set its real-time clock; the value is the signed offset in seconds. Xen only.
    TimeOffset,
    /// Every cached mapping of guest memory must go. Xen only.
    Invalidate,
}

/// What an access carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Data {
    /// The value itself, masked to the width of the access (writes; zero for reads).
    Value(u64),
    /// Guest-physical address of the first item of a `rep` buffer.
    Guest(u64),
}

/// One access of a guest, built once from one copy of whatever carried it and never read again.
///
/// A `count` above 1 with [`Data::Guest`] is a string instruction: item `i` lies at
/// `data ± i * size` in guest memory, a port stays where it is and an MMIO address moves with the
/// buffer. The sign is minus when `descending`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// Index of the vCPU that waits for the answer.
    pub vcpu: u32,
    /// Where it goes.
    pub target: Target,
    /// Which way.
    pub dir: Dir,
    /// Width of one item.
    pub size: Size,
    /// The value or where the items are.
    pub data: Data,
    /// Number of items, at least 1.
    pub count: u32,
    /// Addresses go down (EFLAGS.DF was set).
    pub descending: bool,
}

impl Request {
    /// A read of one item.
    pub const fn read(vcpu: u32, target: Target, size: Size) -> Request {
        Request { vcpu, target, dir: Dir::Read, size, data: Data::Value(0), count: 1, descending: false }
    }
    /// A write of one item; `value` is masked to `size`.
    pub const fn write(vcpu: u32, target: Target, size: Size, value: u64) -> Request {
        let data = Data::Value(value & size.mask());
        Request { vcpu, target, dir: Dir::Write, size, data, count: 1, descending: false }
    }

    /// Where item `index` of a string request goes, and where its bytes are. Addresses wrap around.
    pub const fn item(&self, index: u32) -> Item {
        let moved = (index as u64).wrapping_mul(self.size as u64);
        let target = match self.target {
            Target::Mmio(address) => Target::Mmio(self.step(address, moved)),
            other => other,
        };
        let data = match self.data {
            Data::Guest(address) => Data::Guest(self.step(address, moved)),
            value => value,
        };
        Item { target, data }
    }

    const fn step(&self, from: u64, moved: u64) -> u64 {
        if self.descending { from.wrapping_sub(moved) } else { from.wrapping_add(moved) }
    }
}

/// One item of a string request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where it goes.
    pub target: Target,
    /// Its value, or the guest-physical address of its bytes.
    pub data: Data,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_move_with_the_direction_flag() {
        let mut request = Request {
            vcpu: 0,
            target: Target::Mmio(0xa_0000),
            dir: Dir::Write,
            size: Size::B4,
            data: Data::Guest(0x1ffe),
            count: 3,
            descending: false,
        };
        let item = request.item(2);
        assert_eq!((item.target, item.data), (Target::Mmio(0xa_0008), Data::Guest(0x2006)));
        request.descending = true;
        assert_eq!(request.item(1).target, Target::Mmio(0x9_fffc));
        request.target = Target::Pio(0x1f0);
        request.data = Data::Guest(2);
        let item = request.item(1);
        assert_eq!((item.target, item.data), (Target::Pio(0x1f0), Data::Guest(u64::MAX - 1)));
    }

    #[test]
    fn sizes_mask() {
        assert_eq!(Size::new(3), None);
        assert_eq!(Size::B8.mask(), u64::MAX);
        assert_eq!(Size::B1.mask(), 0xff);
        let Data::Value(value) = Request::write(0, Target::Pio(0), Size::B2, 0x12345).data else { panic!() };
        assert_eq!(value, 0x2345);
    }
}
