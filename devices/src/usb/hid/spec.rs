//! Numbers of the HID class, and what QEMU's devices say of themselves.

use super::super::descriptors::{Endpoint, Interface};
use super::Kind;
use crate::input::keys::Key;

/// Vendor of QEMU's devices (Adomax).
pub const VENDOR: u16 = 0x0627;
/// Product: tablet, mouse and keyboard alike.
pub const PRODUCT: u16 = 0x0001;

/// Nanoseconds of a unit of the idle rate.
pub const IDLE_UNIT: u64 = 4_000_000;

/// Requests (7.2), and bmRequestType.
pub mod request {
    /// Standard, from the interface.
    pub const DESCRIPTOR: u8 = 0x81;
    /// Of the class, from the interface.
    pub const GET: u8 = 0xa1;
    /// Of the class, to the interface.
    pub const SET: u8 = 0x21;
    /// Descriptors of the class.
    pub const GET_DESCRIPTOR: u8 = 6;
    /// The report as it is.
    pub const REPORT: u8 = 1;
    /// The idle rate.
    pub const IDLE: u8 = 2;
    /// 0: boot, 1: report.
    pub const PROTOCOL: u8 = 3;
    /// Lights.
    pub const SET_REPORT: u8 = 9;
    /// The idle rate.
    pub const SET_IDLE: u8 = 10;
    /// The protocol.
    pub const SET_PROTOCOL: u8 = 11;
}

/// Descriptors (7.1).
pub mod descriptor {
    /// Of the class.
    pub const HID: u8 = 0x21;
    /// Of the reports.
    pub const REPORT: u8 = 0x22;
}

/// Indices of strings, which QEMU's three devices share.
pub mod label {
    /// Manufacturer.
    pub const MANUFACTURER: u8 = 1;
    /// Product.
    pub const MOUSE: u8 = 2;
    /// Product.
    pub const TABLET: u8 = 3;
    /// Product.
    pub const KEYBOARD: u8 = 4;
    /// Serial number of devices that had none of their own.
    pub const SERIAL_COMPAT: u8 = 5;
    /// Configuration.
    pub const CONFIG_MOUSE: u8 = 6;
    /// Configuration.
    pub const CONFIG_TABLET: u8 = 7;
    /// Configuration.
    pub const CONFIG_KEYBOARD: u8 = 8;
    /// Serial number.
    pub const SERIAL_MOUSE: u8 = 9;
    /// Serial number.
    pub const SERIAL_TABLET: u8 = 10;
    /// Serial number.
    pub const SERIAL_KEYBOARD: u8 = 11;
}

/// Indices of product, serial number and configuration.
pub fn labels(kind: Kind) -> (u8, u8, u8) {
    match kind {
        Kind::Mouse => (label::MOUSE, label::SERIAL_MOUSE, label::CONFIG_MOUSE),
        Kind::Tablet => (label::TABLET, label::SERIAL_TABLET, label::CONFIG_TABLET),
        Kind::Keyboard => (label::KEYBOARD, label::SERIAL_KEYBOARD, label::CONFIG_KEYBOARD),
    }
}

/// The strings, with the place of the device in its serial number.
pub fn strings(kind: Kind, place: &str) -> Vec<(u8, String)> {
    let all = [
        (label::MANUFACTURER, "QEMU"),
        (label::MOUSE, "QEMU USB Mouse"),
        (label::TABLET, "QEMU USB Tablet"),
        (label::KEYBOARD, "QEMU USB Keyboard"),
        (label::SERIAL_COMPAT, "42"),
        (label::CONFIG_MOUSE, "HID Mouse"),
        (label::CONFIG_TABLET, "HID Tablet"),
        (label::CONFIG_KEYBOARD, "HID Keyboard"),
        (label::SERIAL_MOUSE, "89126"),
        (label::SERIAL_TABLET, "28754"),
        (label::SERIAL_KEYBOARD, "68284"),
    ];
    let (_, serial, _) = labels(kind);
    let text = |(index, text): (u8, &str)| match index == serial {
        true => (index, format!("{text}-{place}")),
        false => (index, text.to_owned()),
    };
    all.into_iter().map(text).collect()
}

const HID_CLASS: u8 = 3;

/// A descriptor of the class (6.2.1), with the release that QEMU's names.
const fn class_descriptor(release: u16, report: usize) -> [u8; 9] {
    let [low, high] = release.to_le_bytes();
    [9, descriptor::HID, low, high, 0, 1, descriptor::REPORT, report as u8, 0]
}

static TABLET_HID: [u8; 9] = class_descriptor(0x0001, TABLET_REPORT.len());
static MOUSE_HID: [u8; 9] = class_descriptor(0x0001, MOUSE_REPORT.len());
static KEYBOARD_HID: [u8; 9] = class_descriptor(0x0111, KEYBOARD_REPORT.len());

const fn interrupt_in(max_packet: u16, interval: u8) -> [Endpoint; 1] {
    [Endpoint { address: 0x81, attributes: 3, max_packet, interval, burst: None, of_class: &[] }]
}

/// At full speed every 10 ms; at high speed 2^3 or 2^6 microframes.
static WIDE: [Endpoint; 1] = interrupt_in(8, 10);
static NARROW: [Endpoint; 1] = interrupt_in(4, 10);
static FAST_TABLET: [Endpoint; 1] = interrupt_in(8, 4);
static FAST_MOUSE: [Endpoint; 1] = interrupt_in(4, 7);
static FAST_KEYBOARD: [Endpoint; 1] = interrupt_in(8, 7);

static TABLET: [Interface; 1] =
    [Interface { class: [HID_CLASS, 0, 0], of_class: &TABLET_HID, endpoints: &WIDE }];
static MOUSE: [Interface; 1] =
    [Interface { class: [HID_CLASS, 1, 2], of_class: &MOUSE_HID, endpoints: &NARROW }];
static KEYBOARD: [Interface; 1] =
    [Interface { class: [HID_CLASS, 1, 1], of_class: &KEYBOARD_HID, endpoints: &WIDE }];

static TABLET_2: [Interface; 1] =
    [Interface { class: [HID_CLASS, 0, 0], of_class: &TABLET_HID, endpoints: &FAST_TABLET }];
static MOUSE_2: [Interface; 1] =
    [Interface { class: [HID_CLASS, 1, 2], of_class: &MOUSE_HID, endpoints: &FAST_MOUSE }];
static KEYBOARD_2: [Interface; 1] =
    [Interface { class: [HID_CLASS, 1, 1], of_class: &KEYBOARD_HID, endpoints: &FAST_KEYBOARD }];

/// Its interface at high speed.
pub fn fast_interfaces(kind: Kind) -> &'static [Interface] {
    match kind {
        Kind::Tablet => &TABLET_2,
        Kind::Mouse => &MOUSE_2,
        Kind::Keyboard => &KEYBOARD_2,
    }
}

/// Its interface at full speed.
pub fn interfaces(kind: Kind) -> &'static [Interface] {
    match kind {
        Kind::Tablet => &TABLET,
        Kind::Mouse => &MOUSE,
        Kind::Keyboard => &KEYBOARD,
    }
}

/// The descriptor of the class.
pub fn hid_descriptor(kind: Kind) -> &'static [u8] {
    interfaces(kind)[0].of_class
}

/// What its reports are.
pub fn report_descriptor(kind: Kind) -> &'static [u8] {
    match kind {
        Kind::Tablet => TABLET_REPORT,
        Kind::Mouse => MOUSE_REPORT,
        Kind::Keyboard => KEYBOARD_REPORT,
    }
}

/// Items of report descriptors (6.2.2), as far as they are used.
mod item {
    pub const USAGE_PAGE: u8 = 0x05;
    pub const USAGE: u8 = 0x09;
    pub const USAGE_FROM: u8 = 0x19;
    pub const USAGE_TO: u8 = 0x29;
    pub const COLLECTION: u8 = 0xa1;
    pub const END: u8 = 0xc0;
    pub const LOGICAL_FROM: u8 = 0x15;
    pub const LOGICAL_TO: u8 = 0x25;
    pub const LOGICAL_TO_16: u8 = 0x26;
    pub const PHYSICAL_FROM: u8 = 0x35;
    pub const PHYSICAL_TO: u8 = 0x45;
    pub const PHYSICAL_TO_16: u8 = 0x46;
    pub const SIZE: u8 = 0x75;
    pub const COUNT: u8 = 0x95;
    pub const INPUT: u8 = 0x81;
    pub const OUTPUT: u8 = 0x91;
}
use item::*;

/// Usage pages.
const DESKTOP: u8 = 1;
const KEYS: u8 = 7;
const LEDS: u8 = 8;
const BUTTON: u8 = 9;
/// Usages of the desktop page.
const POINTER: u8 = 1;
const MOUSE_USAGE: u8 = 2;
const KEYBOARD_USAGE: u8 = 6;
const X: u8 = 0x30;
const Y: u8 = 0x31;
const WHEEL: u8 = 0x38;
/// Collections.
const PHYSICAL: u8 = 0;
const APPLICATION: u8 = 1;
/// What fields are.
const ARRAY: u8 = 0;
const PADDING: u8 = 1;
const ABSOLUTE: u8 = 2;
const RELATIVE: u8 = 6;

/// Three buttons in a byte, X and Y of 0 to 0x7fff, and the wheel's steps.
#[rustfmt::skip]
const TABLET_REPORT: &[u8] = &[
    USAGE_PAGE, DESKTOP, USAGE, MOUSE_USAGE, COLLECTION, APPLICATION, USAGE, POINTER, COLLECTION, PHYSICAL,
    USAGE_PAGE, BUTTON, USAGE_FROM, 1, USAGE_TO, 3, LOGICAL_FROM, 0, LOGICAL_TO, 1, COUNT, 3, SIZE, 1, INPUT, ABSOLUTE,
    COUNT, 1, SIZE, 5, INPUT, PADDING,
    USAGE_PAGE, DESKTOP, USAGE, X, USAGE, Y, LOGICAL_FROM, 0, LOGICAL_TO_16, 0xff, 0x7f,
    PHYSICAL_FROM, 0, PHYSICAL_TO_16, 0xff, 0x7f, SIZE, 16, COUNT, 2, INPUT, ABSOLUTE,
    USAGE_PAGE, DESKTOP, USAGE, WHEEL, LOGICAL_FROM, 0x81, LOGICAL_TO, 0x7f,
    PHYSICAL_FROM, 0, PHYSICAL_TO, 0, SIZE, 8, COUNT, 1, INPUT, RELATIVE,
    END, END,
];

/// Three buttons in a byte, and steps of X, Y and the wheel.
#[rustfmt::skip]
const MOUSE_REPORT: &[u8] = &[
    USAGE_PAGE, DESKTOP, USAGE, MOUSE_USAGE, COLLECTION, APPLICATION, USAGE, POINTER, COLLECTION, PHYSICAL,
    USAGE_PAGE, BUTTON, USAGE_FROM, 1, USAGE_TO, 3, LOGICAL_FROM, 0, LOGICAL_TO, 1, COUNT, 3, SIZE, 1, INPUT, ABSOLUTE,
    COUNT, 1, SIZE, 5, INPUT, PADDING,
    USAGE_PAGE, DESKTOP, USAGE, X, USAGE, Y, USAGE, WHEEL, LOGICAL_FROM, 0x81, LOGICAL_TO, 0x7f,
    SIZE, 8, COUNT, 3, INPUT, RELATIVE,
    END, END,
];

/// Eight modifiers, a byte of nothing, six keys; to the keyboard five lights. The boot protocol's report.
#[rustfmt::skip]
const KEYBOARD_REPORT: &[u8] = &[
    USAGE_PAGE, DESKTOP, USAGE, KEYBOARD_USAGE, COLLECTION, APPLICATION,
    SIZE, 1, COUNT, 8, USAGE_PAGE, KEYS, USAGE_FROM, 0xe0, USAGE_TO, 0xe7, LOGICAL_FROM, 0, LOGICAL_TO, 1,
    INPUT, ABSOLUTE,
    COUNT, 1, SIZE, 8, INPUT, PADDING,
    COUNT, 5, SIZE, 1, USAGE_PAGE, LEDS, USAGE_FROM, 1, USAGE_TO, 5, OUTPUT, ABSOLUTE,
    COUNT, 1, SIZE, 3, OUTPUT, PADDING,
    COUNT, 6, SIZE, 8, LOGICAL_FROM, 0, LOGICAL_TO, 0xff, USAGE_PAGE, KEYS, USAGE_FROM, 0, USAGE_TO, 0xff, INPUT, ARRAY,
    END,
];

/// Names of keys (QKeyCode) from a usage on, in the order of the keyboard page of the usage tables.
const USAGES: &[(u8, &str)] = &[
    (0x04, "a b c d e f g h i j k l m n o p q r s t u v w x y z 1 2 3 4 5 6 7 8 9 0"),
    (0x28, "ret esc backspace tab spc minus equal bracket_left bracket_right backslash"),
    (0x33, "semicolon apostrophe grave_accent comma dot slash caps_lock"),
    (0x3a, "f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 print scroll_lock pause insert home pgup delete end pgdn"),
    (0x4f, "right left down up num_lock kp_divide kp_multiply kp_subtract kp_add kp_enter"),
    (0x59, "kp_1 kp_2 kp_3 kp_4 kp_5 kp_6 kp_7 kp_8 kp_9 kp_0 kp_decimal less compose power kp_equals"),
    (0x68, "f13 f14 f15 f16 f17 f18 f19 f20 f21 f22 f23 f24"),
    (0x74, "open help props front stop again undo cut copy paste find volumemute volumeup volumedown"),
    (0x85, "kp_comma"),
    (0x87, "ro katakanahiragana yen henkan muhenkan"),
    (0x90, "lang1 lang2"),
    (0x93, "hiragana"),
    (0xe0, "ctrl shift alt meta_l ctrl_r shift_r alt_r meta_r"),
    // Other names of keys that are above.
    (0x46, "sysrq"),
    (0x55, "asterisk"),
    (0x65, "menu"),
    (0x7f, "audiomute"),
];

/// The usage of a key on the keyboard page; none: the page has no such key.
pub fn usage(key: Key) -> Option<u8> {
    USAGES.iter().find_map(|(first, names)| {
        let at = names.split(' ').position(|name| name == key.name())?;
        Some(first + at as u8)
    })
}
