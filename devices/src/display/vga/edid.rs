//! What the monitor says of itself: 128 bytes of EDID 1.4 (VESA E-EDID Standard, Release A).

/// Detailed timing of 1280x800 at 60 Hz (VESA DMT 0x1c), what QEMU's monitor prefers.
const PREFERRED: [u8; 18] = detailed(83_500, (1280, 400, 72, 128), (800, 31, 3, 6));

/// The screen's size in millimetres.
const SIZE: (u16, u16) = (320, 200);

/// A detailed timing descriptor: pixel clock in kHz; for each direction displayed, blanked, front porch
/// and sync.
const fn detailed(khz: u32, h: (u16, u16, u16, u16), v: (u16, u16, u16, u16)) -> [u8; 18] {
    let clock = (khz / 10) as u16;
    [
        clock as u8,
        (clock >> 8) as u8,
        h.0 as u8,
        h.1 as u8,
        ((h.0 >> 8) << 4 | h.1 >> 8) as u8,
        v.0 as u8,
        v.1 as u8,
        ((v.0 >> 8) << 4 | v.1 >> 8) as u8,
        h.2 as u8,
        h.3 as u8,
        (v.2 << 4 | v.3) as u8,
        ((h.2 >> 8) << 6 | (h.3 >> 8) << 4 | (v.2 >> 4) << 2 | v.3 >> 4) as u8,
        SIZE.0 as u8,
        SIZE.1 as u8,
        ((SIZE.0 >> 8) << 4 | SIZE.1 >> 8) as u8,
        0,
        0,
        // Digital separate sync, vertical positive, horizontal negative.
        0x1c,
    ]
}

/// A display descriptor with text, padded as the standard wants it.
fn text(tag: u8, text: &str) -> [u8; 18] {
    let mut block = [b' '; 18];
    block[..5].copy_from_slice(&[0, 0, 0, tag, 0]);
    let text = text.as_bytes();
    let len = text.len().min(13);
    block[5..5 + len].copy_from_slice(&text[..len]);
    if let Some(end) = block.get_mut(5 + len) {
        *end = b'\n';
    }
    block
}

/// The blob: a monitor that prefers 1280x800 and takes what the VESA standard modes are.
pub fn blob() -> [u8; 128] {
    let mut edid = [0; 128];
    let header: [u8; 54] = [
        0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, // fixed
        0x06, 0x8c, // maker "ATL", five bits a letter
        0x01, 0x00, 0x00, 0x00, 0x00, 0x00, // product, serial
        0xff, 34, // model year 2024
        1, 4, // EDID 1.4
        0xa5, 32, 20, 120,  // digital, 8 bits a colour, DisplayPort; centimetres; gamma 2.2
        0x06, // sRGB is the default, the first timing is the preferred one
        0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54, // sRGB chromaticities
        0x21, 0x08, 0x00, // 640x480, 800x600, 1024x768 at 60 Hz
        0x81, 0x80, 0x81, 0x40, 0x90, 0x40, 0xa9, 0x40, // 1280x1024 5:4, 1280x960, 1400x1050, 1600x1200
        0xb3, 0x00, 0xd1, 0xc0, 0x01, 0x01, 0x01, 0x01, // 1680x1050, 1920x1080, unused
    ];
    edid[..54].copy_from_slice(&header);
    edid[54..72].copy_from_slice(&PREFERRED);
    // Range limits: 50-125 Hz, 30-160 kHz, up to 300 MHz, no formula.
    let limits = [0, 0, 0, 0xfd, 0, 50, 125, 30, 160, 30, 0x01, 0x0a, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20];
    edid[72..90].copy_from_slice(&limits);
    edid[90..108].copy_from_slice(&text(0xfc, "Ailurus"));
    edid[108..126].copy_from_slice(&text(0xff, "1"));
    let sum = edid.iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte));
    edid[127] = sum.wrapping_neg();
    edid
}
