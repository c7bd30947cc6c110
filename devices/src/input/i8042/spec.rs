//! Registers and commands of the 8042 keyboard controller (IBM PS/2 reference, "Keyboard and Auxiliary
//! Device Controller").

/// Data port.
pub const DATA: u16 = 0x60;
/// Status port when read, command port when written.
pub const COMMAND: u16 = 0x64;

/// Status: a byte waits at the data port.
pub const OUTPUT_FULL: u8 = 0x01;
/// Status: the self-test has passed.
pub const SYSTEM: u8 = 0x04;
/// Status: the last write was a command.
pub const WAS_COMMAND: u8 = 0x08;
/// Status: the key lock is open.
pub const UNLOCKED: u8 = 0x10;
/// Status: the byte at the data port is the mouse's.
pub const MOUSE_BYTE: u8 = 0x20;

/// Configuration: interrupt for the keyboard's bytes.
pub const KEYBOARD_IRQ: u8 = 0x01;
/// Configuration: interrupt for the mouse's bytes.
pub const MOUSE_IRQ: u8 = 0x02;
/// Configuration: keyboard stopped.
pub const KEYBOARD_OFF: u8 = 0x10;
/// Configuration: mouse stopped.
pub const MOUSE_OFF: u8 = 0x20;
/// Configuration: the keyboard's codes are translated to set 1.
pub const TRANSLATE: u8 = 0x40;

/// Output port: low resets the processor.
pub const OUT_RESET: u8 = 0x01;
/// Output port: address line 20.
pub const OUT_A20: u8 = 0x02;
/// Output port: clocks and data lines of both ports, which idle high.
pub const OUT_LINES: u8 = 0xcc;
/// Output port: a byte of the keyboard waits.
pub const OUT_KEYBOARD: u8 = 0x10;
/// Output port: a byte of the mouse waits.
pub const OUT_MOUSE: u8 = 0x20;

/// Command: read the configuration.
pub const READ_CONFIG: u8 = 0x20;
/// Command: the configuration follows.
pub const WRITE_CONFIG: u8 = 0x60;
/// Command: stop the mouse.
pub const STOP_MOUSE: u8 = 0xa7;
/// Command: let the mouse go on.
pub const START_MOUSE: u8 = 0xa8;
/// Command: test the mouse's wires.
pub const TEST_MOUSE: u8 = 0xa9;
/// Command: self-test.
pub const SELF_TEST: u8 = 0xaa;
/// Command: test the keyboard's wires.
pub const TEST_KEYBOARD: u8 = 0xab;
/// Command: stop the keyboard.
pub const STOP_KEYBOARD: u8 = 0xad;
/// Command: let the keyboard go on.
pub const START_KEYBOARD: u8 = 0xae;
/// Command: read the input port.
pub const READ_INPUT: u8 = 0xc0;
/// Command: read the output port.
pub const READ_OUTPUT: u8 = 0xd0;
/// Command: the output port follows.
pub const WRITE_OUTPUT: u8 = 0xd1;
/// Command: the byte that follows comes back as the keyboard's.
pub const ECHO_KEYBOARD: u8 = 0xd2;
/// Command: the byte that follows comes back as the mouse's.
pub const ECHO_MOUSE: u8 = 0xd3;
/// Command: the byte that follows is for the mouse.
pub const TO_MOUSE: u8 = 0xd4;
/// Command: address line 20 held low.
pub const A20_OFF: u8 = 0xdd;
/// Command: address line 20 released.
pub const A20_ON: u8 = 0xdf;
/// Commands from here on pulse output port bits that are zero in bits 3:0.
pub const PULSE: u8 = 0xf0;

/// Answer of the self-test.
pub const SELF_TEST_PASSED: u8 = 0x55;
/// Answer of the wire tests.
pub const WIRES_FINE: u8 = 0x00;
/// Input port: the keyboard is not locked.
pub const INPUT_PORT: u8 = 0x80;
