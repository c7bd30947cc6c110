//! Commands and answers of PS/2 devices.

/// Bytes that a device queues.
pub const QUEUE: usize = 16;

/// Command taken.
pub const ACK: u8 = 0xfa;
/// Command not understood; also the command that asks for the last byte again.
pub const RESEND: u8 = 0xfe;
/// Self-test passed.
pub const TEST_PASSED: u8 = 0xaa;

/// To both: self-test and defaults.
pub const RESET: u8 = 0xff;
/// To both: defaults.
pub const DEFAULTS: u8 = 0xf6;
/// To both: stop sending events (and, the keyboard, defaults).
pub const DISABLE: u8 = 0xf5;
/// To both: send events.
pub const ENABLE: u8 = 0xf4;
/// To both: typematic rate, or sample rate; follows.
pub const SET_RATE: u8 = 0xf3;
/// To both: who are you?
pub const IDENTIFY: u8 = 0xf2;

/// Keyboard: lights follow.
pub const SET_LEDS: u8 = 0xed;
/// Keyboard: answer with this byte.
pub const ECHO: u8 = 0xee;
/// Keyboard: scan code set follows; 0 asks.
pub const SCAN_SET: u8 = 0xf0;
/// Keyboard: its two bytes of identity.
pub const KEYBOARD_ID: [u8; 2] = [0xab, 0x83];
/// Keyboard: slowest delay and rate but one: 500 ms, 10.9 a second.
pub const TYPEMATIC_DEFAULT: u8 = 0x2b;

/// Mouse: counts as they are.
pub const SCALE_1: u8 = 0xe6;
/// Mouse: counts by the table of 2:1 scaling.
pub const SCALE_2: u8 = 0xe7;
/// Mouse: resolution follows, 0 to 3.
pub const SET_RESOLUTION: u8 = 0xe8;
/// Mouse: three bytes of status.
pub const STATUS: u8 = 0xe9;
/// Mouse: send packets by itself.
pub const STREAM: u8 = 0xea;
/// Mouse: one packet, please.
pub const POLL: u8 = 0xeb;
/// Mouse: end of wrap mode.
pub const UNWRAP: u8 = 0xec;
/// Mouse: answer each byte with itself.
pub const WRAP: u8 = 0xee;
/// Mouse: send packets when polled only.
pub const REMOTE: u8 = 0xf0;

/// Mouse packet, first byte: always set.
pub const PACKET_MARK: u8 = 0x08;
/// Mouse packet, first byte: X is negative.
pub const PACKET_X_SIGN: u8 = 0x10;
/// Mouse packet, first byte: Y is negative.
pub const PACKET_Y_SIGN: u8 = 0x20;
