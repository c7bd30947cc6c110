//! Names and numbers of network cards (Virtio 1.3, 5.1).

/// Feature bits (5.1.3).
pub mod feature {
    /// The device completes checksums.
    pub const CSUM: u64 = 1 << 0;
    /// The driver does.
    pub const GUEST_CSUM: u64 = 1 << 1;
    /// What the driver can be left is changed by the control queue.
    pub const CTRL_GUEST_OFFLOADS: u64 = 1 << 2;
    /// The most that a frame carries is in the configuration.
    pub const MTU: u64 = 1 << 3;
    /// The address is in the configuration.
    pub const MAC: u64 = 1 << 5;
    /// The driver takes segments of TCP over IPv4 together.
    pub const GUEST_TSO4: u64 = 1 << 7;
    /// Over IPv6.
    pub const GUEST_TSO6: u64 = 1 << 8;
    /// With CWR.
    pub const GUEST_ECN: u64 = 1 << 9;
    /// The device cuts up TCP over IPv4.
    pub const HOST_TSO4: u64 = 1 << 11;
    /// Over IPv6.
    pub const HOST_TSO6: u64 = 1 << 12;
    /// With CWR.
    pub const HOST_ECN: u64 = 1 << 13;
    /// A frame may be spread over buffers.
    pub const MRG_RXBUF: u64 = 1 << 15;
    /// The link's status is in the configuration.
    pub const STATUS: u64 = 1 << 16;
    /// There is a control queue.
    pub const CTRL_VQ: u64 = 1 << 17;
    /// Which frames are received is told by it.
    pub const CTRL_RX: u64 = 1 << 18;
    /// Which VLANs are.
    pub const CTRL_VLAN: u64 = 1 << 19;
    /// More kinds of frames.
    pub const CTRL_RX_EXTRA: u64 = 1 << 20;
    /// The driver is asked to announce itself.
    pub const GUEST_ANNOUNCE: u64 = 1 << 21;
    /// There may be several pairs of queues.
    pub const MQ: u64 = 1 << 22;
    /// The address is set by the control queue.
    pub const CTRL_MAC_ADDR: u64 = 1 << 23;
    /// The header says what the frame's hash is.
    pub const HASH_REPORT: u64 = 1 << 57;
    /// Frames are spread over pairs by their hashes.
    pub const RSS: u64 = 1 << 60;
}

/// Where fields of the configuration are (5.1.4).
pub mod config {
    /// Address.
    pub const MAC: usize = 0;
    /// Status, 16 bits.
    pub const STATUS: usize = 6;
    /// Pairs of queues, 16 bits.
    pub const MAX_VIRTQUEUE_PAIRS: usize = 8;
    /// Most bytes behind a frame's header, 16 bits.
    pub const MTU: usize = 10;
    /// Bytes of it all, in a card that knows of no hashes.
    pub const LEN: usize = 12;
    /// Speed and duplex, 32 and 8 bits, which are not known.
    pub const SPEED: usize = 12;
    /// Most bytes of a key, 8 bits.
    pub const RSS_MAX_KEY_SIZE: usize = 17;
    /// Most entries of a table, 16 bits.
    pub const RSS_MAX_TABLE_LENGTH: usize = 18;
    /// Kinds of hashes, 32 bits.
    pub const SUPPORTED_HASH_TYPES: usize = 20;
    /// Bytes of it all, with hashes.
    pub const LEN_WITH_HASHES: usize = 24;
}

/// Status (5.1.4).
pub mod status {
    /// The cable is in.
    pub const LINK_UP: u16 = 1;
    /// The driver is to announce itself.
    pub const ANNOUNCE: u16 = 2;
}

/// Numbers of queues (5.1.2).
pub mod queue {
    /// Frames to the driver, of a pair.
    pub const fn rx(pair: u16) -> u16 {
        2 * pair
    }
    /// Frames of the driver's.
    pub const fn tx(pair: u16) -> u16 {
        2 * pair + 1
    }
    /// Commands, where there are so many pairs: all that the card has if the driver knows of several, or one.
    pub const fn control(pairs: u16) -> u16 {
        2 * pairs
    }
}

/// Most pairs of queues: as many as an interface of the host's has queues.
pub const PAIRS: u16 = 256;

/// Elements of the control queue.
pub const CONTROL_SIZE: u16 = 64;

/// Bytes of the header before a frame (5.1.6): the usual one, and that of a legacy driver without MRG_RXBUF.
pub const HEADER: usize = 12;
/// See [`HEADER`].
pub const LEGACY_HEADER: usize = 10;
/// That with a hash: the hash, 32 bits, and its kind, 16 bits.
pub const HASH_HEADER: usize = 20;
/// Where the hash is in it.
pub const HASH_VALUE: usize = 12;
/// Where its kind is.
pub const HASH_REPORT: usize = 16;
/// Where the header says over how many buffers a frame is spread.
pub const NUM_BUFFERS: usize = 10;

/// Classes of commands (5.1.6.5).
pub mod class {
    /// Which kinds of frames are received.
    pub const RX: u8 = 0;
    /// Addresses.
    pub const MAC: u8 = 1;
    /// VLANs.
    pub const VLAN: u8 = 2;
    /// Announcements.
    pub const ANNOUNCE: u8 = 3;
    /// Pairs of queues.
    pub const MQ: u8 = 4;
    /// What the driver can be left.
    pub const GUEST_OFFLOADS: u8 = 5;
}

/// Commands of [`class::RX`]; each has a byte, on or off.
pub mod rx {
    /// Everything.
    pub const PROMISC: u8 = 0;
    /// Everything to groups.
    pub const ALLMULTI: u8 = 1;
    /// Everything to stations.
    pub const ALLUNI: u8 = 2;
    /// Nothing to groups.
    pub const NOMULTI: u8 = 3;
    /// Nothing to stations.
    pub const NOUNI: u8 = 4;
    /// Nothing to all.
    pub const NOBCAST: u8 = 5;
}

/// Commands of [`class::MAC`].
pub mod mac {
    /// Two tables: stations, groups. Each is a count (32 bits) and addresses.
    pub const TABLE_SET: u8 = 0;
    /// The card's own.
    pub const ADDR_SET: u8 = 1;
}

/// Commands of [`class::VLAN`].
pub mod vlan {
    /// One more.
    pub const ADD: u8 = 0;
    /// One less.
    pub const DEL: u8 = 1;
}

/// Of [`class::MQ`]: how many pairs are in use from now on, 16 bits.
pub const VQ_PAIRS_SET: u8 = 0;

/// Likewise: where frames go by their hashes.
pub const RSS_CONFIG: u8 = 1;
/// Likewise: which hashes are reported.
pub const HASH_CONFIG: u8 = 2;

/// Limits of hashes, as QEMU has them.
pub mod rss {
    /// Bytes of a key.
    pub const KEY: u8 = 40;
    /// Entries of a table.
    pub const TABLE: u16 = 128;
}

/// Kinds of hashes (5.1.6.4.3.1, 5.1.6.4.3.2).
pub mod hash_type {
    /// Of both addresses.
    pub const IPV4: u32 = 1 << 0;
    /// Of ports, too.
    pub const TCPV4: u32 = 1 << 1;
    /// Likewise.
    pub const UDPV4: u32 = 1 << 2;
    /// Of both addresses.
    pub const IPV6: u32 = 1 << 3;
    /// Of ports, too.
    pub const TCPV6: u32 = 1 << 4;
    /// Likewise.
    pub const UDPV6: u32 = 1 << 5;
    /// Of the addresses at which both are at home.
    pub const IP_EX: u32 = 1 << 6;
    /// Of ports, too.
    pub const TCP_EX: u32 = 1 << 7;
    /// Likewise.
    pub const UDP_EX: u32 = 1 << 8;
    /// All of them.
    pub const ALL: u32 = 0x1ff;
}

/// What a reported hash is (5.1.6.4.3.3).
pub mod hash_report {
    /// There is none.
    pub const NONE: u16 = 0;
    /// See [`super::hash_type`].
    pub const IPV4: u16 = 1;
    /// Likewise.
    pub const TCPV4: u16 = 2;
    /// Likewise.
    pub const UDPV4: u16 = 3;
    /// Likewise.
    pub const IPV6: u16 = 4;
    /// Likewise.
    pub const TCPV6: u16 = 5;
    /// Likewise.
    pub const UDPV6: u16 = 6;
    /// Likewise.
    pub const IPV6_EX: u16 = 7;
    /// Likewise.
    pub const TCPV6_EX: u16 = 8;
    /// Likewise.
    pub const UDPV6_EX: u16 = 9;
}

/// Of [`class::GUEST_OFFLOADS`]: 64 bits, of the features that say it.
pub const GUEST_OFFLOADS_SET: u8 = 0;

/// The driver has announced itself.
pub const ANNOUNCE_ACK: u8 = 0;

/// Answers.
pub mod ack {
    /// Done.
    pub const OK: u8 = 0;
    /// Not done.
    pub const ERR: u8 = 1;
}

/// Most addresses that are kept; more are taken for all, as QEMU does.
pub const TABLE: usize = 64;
/// VLANs.
pub const VLANS: usize = 4096;
