//! Network cards.

pub mod e1000;
pub mod e1000e;
mod e1000x;
mod eeprom93;
mod held_interrupt;
pub mod ne2000;
mod offload;
pub(crate) mod packet;
pub mod rtl8139;

/// Which of 64 bits of a hash table a group has in cards whose table goes by the Ethernet CRC (low bits first): its
/// six highest bits.
fn group_hash(address: [u8; 6]) -> u8 {
    let crc = address.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc, |crc, bit| {
            let carry = crc >> 31 ^ u32::from(byte >> bit & 1) != 0;
            crc << 1 ^ if carry { 0x04c1_1db7 } else { 0 }
        })
    });
    (crc >> 26) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_hash_as_drivers_do_it() {
        // Linux's ether_crc of the all-hosts groups.
        assert_eq!(group_hash([0x01, 0, 0x5e, 0, 0, 1]), 0x1f);
        assert_eq!(group_hash([0x33, 0x33, 0, 0, 0, 1]), 0x3e);
    }
}
