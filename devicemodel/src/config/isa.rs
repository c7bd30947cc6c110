//! Devices of the ISA bus that have a place of their own.

use devices::serial::uart16550::PORTS;
use devices::serial::uart16550::model::{INDEX, IOBASE, IRQ, MODEL};
use devices_core::model::Value;

use super::{ConfigError, DeviceSpec, SerialConfig};

fn is_there(port: &SerialConfig) -> bool {
    *port != SerialConfig::None
}

fn number(device: &DeviceSpec, property: &str) -> Option<u64> {
    match device.properties.get(property) {
        Some(Value::Uint(number)) => Some(*number),
        _ => None,
    }
}

/// Gives each serial port that is a device its place, where nobody chose one: the next of the PC's four. As with QEMU
/// those of `-serial` come first, and who chose counts too.
pub(super) fn settle(serial: &[SerialConfig], devices: &mut [DeviceSpec]) -> Result<(), ConfigError> {
    let first = serial.iter().filter(|port| is_there(port)).count() as u64;
    let mut bases: Vec<u64> = serial
        .iter()
        .zip(PORTS)
        .filter(|(port, _)| is_there(port))
        .map(|(_, (base, _))| base.into())
        .collect();
    let ports = devices.iter_mut().filter(|device| device.model == MODEL.name);
    for (next, device) in (first..).zip(ports) {
        let index = number(device, INDEX.name).unwrap_or(next);
        let (base, irq) =
            *usize::try_from(index).ok().and_then(|index| PORTS.get(index)).ok_or_else(|| {
                ConfigError::Invalid(
                    "device isa-serial: Max. supported number of ISA serial ports is 4".into(),
                )
            })?;
        for (property, usual) in [(INDEX, index), (IOBASE, base.into()), (IRQ, irq.into())] {
            device.properties.entry(property.name.into()).or_insert(Value::Uint(usual));
        }
        let base = number(device, IOBASE.name).unwrap_or(base.into());
        if bases.contains(&base) {
            let why = format!("device isa-serial: there is a serial port at {base:#x} already");
            return Err(ConfigError::Invalid(why));
        }
        bases.push(base);
    }
    Ok(())
}

/// Which of the PC's four ports there are, whoever asked for them.
pub(super) fn serial_ports(serial: &[SerialConfig], devices: &[DeviceSpec]) -> [bool; PORTS.len()] {
    let mut there = [false; PORTS.len()];
    for (port, there) in serial.iter().zip(&mut there) {
        *there = is_there(port);
    }
    let made = devices.iter().filter(|device| device.model == MODEL.name);
    for base in made.filter_map(|device| number(device, IOBASE.name)) {
        if let Some(at) = PORTS.iter().position(|(port, _)| u64::from(*port) == base) {
            there[at] = true;
        }
    }
    there
}

#[cfg(test)]
mod tests {
    use super::*;

    fn port(set: &[(&str, u64)]) -> DeviceSpec {
        let mut device = DeviceSpec::plain(&MODEL);
        let set = set.iter().map(|(name, value)| ((*name).to_owned(), Value::Uint(*value)));
        device.properties.extend(set);
        device
    }

    #[test]
    fn ports_that_are_devices_have_the_next_places() {
        let mut devices = [port(&[]), port(&[("index", 3)]), port(&[("iobase", 0x300), ("irq", 5)])];
        let serial = [SerialConfig::Null, SerialConfig::None];
        assert!(settle(&serial, &mut devices.clone()).is_ok());
        settle(&serial, &mut devices).unwrap();
        let places =
            devices.each_ref().map(|device| ["index", "iobase", "irq"].map(|name| number(device, name)));
        let expected = [[1, 0x2f8, 3], [3, 0x2e8, 3], [3, 0x300, 5]];
        assert_eq!(places, expected.map(|place| place.map(Some)));
        assert_eq!(serial_ports(&serial, &devices), [true, true, false, true]);
        // Again, as from a saved guest.
        let before = devices.clone();
        settle(&serial, &mut devices).unwrap();
        assert_eq!(devices, before);
    }

    #[test]
    fn no_two_are_at_one_place() {
        let twice = |serial: &[SerialConfig], set: &[(&str, u64)]| {
            settle(serial, &mut [port(set)]).map_err(|error| error.to_string())
        };
        assert_eq!(twice(&[], &[("index", 0)]), Ok(()));
        let taken = twice(&[SerialConfig::Stdio], &[("index", 0)]).unwrap_err();
        assert!(taken.contains("0x3f8"), "{taken}");
        assert!(twice(&[], &[("index", 4)]).unwrap_err().contains("Max. supported"));
        assert!(settle(&[], &mut [port(&[]), port(&[]), port(&[]), port(&[]), port(&[])]).is_err());
    }
}
