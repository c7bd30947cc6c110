mod messages;

use super::*;

fn config() -> PciConfig {
    let mut config = PciConfig::new(Identity {
        vendor: 0x8086,
        device: 0x7010,
        revision: 0,
        class: 0x01_01_80,
        subsystem: QEMU_SUBSYSTEM,
    });
    config.bar(4, BarKind::Io, 16, Window::Region(0));
    config.bar(0, BarKind::Mem64 { prefetch: true }, 1 << 20, Window::Region(1));
    config
}

fn word(config: &PciConfig, at: u16) -> u32 {
    let mut data = [0; 4];
    config.read(at, &mut data);
    u32::from_le_bytes(data)
}

#[test]
fn the_header_is_as_specified() {
    let config = config();
    assert_eq!(word(&config, 0), 0x7010_8086);
    assert_eq!(word(&config, 8), 0x0101_8000);
    assert_eq!(word(&config, 0x2c), 0x1100_1af4);
    let mut far = [0xff; 4];
    config.read(0xfffe, &mut far);
    assert_eq!(far, [0xff; 4]);
}

#[test]
fn bars_size_themselves_and_decode_when_enabled() {
    let mut config = config();
    assert!(config.write(reg::BAR0 + 16, &[0xff; 4]));
    assert_eq!(word(&config, reg::BAR0 + 16), 0xffff_fff1);
    config.write(reg::BAR0, &[0xff; 8]);
    assert_eq!(word(&config, reg::BAR0), 0xfff0_000c);
    assert_eq!(word(&config, reg::BAR0 + 4), 0xffff_ffff);
    config.write(reg::BAR0 + 16, &0xc001u32.to_le_bytes());
    config.write(reg::BAR0, &0x1_e000_0000u64.to_le_bytes());
    assert!(config.placements().is_empty());
    config.write(reg::COMMAND, &3u16.to_le_bytes());
    let at: Vec<u64> = config.placements().iter().map(|p| p.address).collect();
    assert_eq!(at, [0x1_e000_0000, 0xc000]);
    config.reset();
    assert!(config.placements().is_empty());
}

#[test]
fn bus_master_follows_the_command_register_and_survives_a_load() {
    let mut config = config();
    let master = config.master();
    config.write(reg::COMMAND, &[4]);
    assert!(master.load(Ordering::Relaxed));
    let saved = config.save();
    config.reset();
    assert!(!master.load(Ordering::Relaxed));
    config.load(&saved).unwrap();
    assert!(master.load(Ordering::Relaxed));
    let mut other =
        PciConfig::new(Identity { vendor: 1, device: 2, revision: 0, class: 0, subsystem: (0, 0) });
    assert!(other.load(&saved).is_err());
}
