//! A guest that has nothing but a network card: the card's option ROM, iPXE, gets an address by DHCP, a script and the
//! initial RAM disk by TFTP and the kernel by HTTP. The guest's process is confined, as every other.

use std::fs;
use std::time::Duration;

use anyhow::{Result, ensure};
use guest_tests::{Machine, case, guest, seconds};

use super::serve;

fn boots(model: &str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let port = serve(fs::read(guest("cloud.vmlinuz")?)?, Duration::ZERO)?;
    let script = format!(
        "#!ipxe\nkernel http://10.0.2.2:{port}/kernel console=ttyS0,115200 initrd=initrd ailurus=poweroff by=pxe\n\
         initrd tftp://10.0.2.2/initrd\nboot\n"
    );
    fs::write(folder.path().join("boot.ipxe"), script)?;
    fs::copy(guest("cloud.initrd")?, folder.path().join("initrd"))?;
    let net = format!("user,tftp={},bootfile=boot.ipxe", folder.path().display());
    let mut booted = Machine::new()?.card(model, &net).boot_from("n").boot()?;
    booted.wait_for("Linux version", seconds(120))?;
    println!("  {model}: the kernel runs after {:.1} s", booted.elapsed().as_secs_f32());
    booted.wait_for("AILURUS-USERLAND-OK", seconds(240))?;
    ensure!(booted.said().contains("by=pxe"), "another command line");
    booted.wait_power_off(seconds(60))
}

#[test]
fn a_guest_boots_from_the_network_with_e1000() {
    case("boot from the network, e1000", || boots("e1000"));
}

#[test]
#[ignore = "all: the same way as with e1000, by another card"]
fn a_guest_boots_from_the_network_with_rtl8139() {
    case("boot from the network, rtl8139", || boots("rtl8139"));
}

#[test]
#[ignore = "all: the same way as with e1000, by another card"]
fn a_guest_boots_from_the_network_with_ne2k_pci() {
    case("boot from the network, ne2k_pci", || boots("ne2k_pci"));
}

#[test]
#[ignore = "all: the same way as with e1000, by another card"]
fn a_guest_boots_from_the_network_with_e1000e() {
    case("boot from the network, e1000e", || boots("e1000e"));
}

#[test]
#[ignore = "all: the same way as with e1000, by another card"]
fn a_guest_boots_from_the_network_with_virtio() {
    case("boot from the network, virtio-net-pci", || boots("virtio-net-pci"));
}
