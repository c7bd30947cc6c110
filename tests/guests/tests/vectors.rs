//! What Debian's kernel calculates with AVX and AVX2: ciphers and sums that it tries against known answers itself, the
//! sums of RAID that it measures, on CPU models that have the instructions.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use guest_tests::{Guest, Machine, case, seconds};

const APPEND: &str = "console=ttyS0,115200 ailurus=shell";

/// Drivers that a CPU of x86-64-v3 with AES must have brought into use.
const DRIVERS: [&str; 12] = [
    "sha1-avx2",
    "sha256-avx2",
    "sha512-avx2",
    "chacha20-simd",
    "poly1305-simd",
    "nhpoly1305-avx2",
    "generic-gcm-aesni",
    "xts-aes-aesni",
    "cbc-camellia-aesni-avx2",
    "cbc-serpent-avx2",
    "cbc-twofish-avx",
    "cbc-cast6-avx",
];

/// What the kernel says of its own trials, by driver.
fn trials(guest: &mut Guest) -> Result<BTreeMap<String, String>> {
    guest.type_line(
        "awk '/^driver/ { d = $3 } /^selftest/ { print \"TRIAL\", d, $3 }' /proc/crypto; echo T''RIED",
    )?;
    guest.wait_for("TRIED", seconds(60))?;
    let said = guest.said();
    let trials = said.lines().filter_map(|line| line.trim().strip_prefix("TRIAL "));
    Ok(trials.filter_map(|line| line.split_once(' ')).map(|(d, how)| (d.into(), how.into())).collect())
}

fn calculates(model: &'static str, vcpus: u32) -> Result<()> {
    let mut guest = Machine::new()?.cpu(model).vcpus(vcpus).kernel("vectors", APPEND)?.boot()?;
    guest.wait_for("AILURUS-USERLAND-OK", seconds(240))?;
    let trials = trials(&mut guest)?;
    println!("  {} ciphers and sums after {:.1} s", trials.len(), guest.elapsed().as_secs_f32());
    for (driver, how) in &trials {
        ensure!(how == "passed", "{driver}: {how}");
    }
    for driver in DRIVERS {
        trials.get(driver).with_context(|| format!("no {driver} among {:?}", trials.keys()))?;
    }
    let said = guest.said();
    for text in
        ["raid6: using algorithm avx2", "raid6: using avx2", "xor: automatically using best checksumming"]
    {
        ensure!(said.contains(text), "the kernel did not say {text:?}");
    }
    let failed = said.lines().find(|line| line.contains("alg: ") && !line.trim_end().ends_with("passed"));
    ensure!(failed.is_none(), "a trial failed: {failed:?}");
    guest.type_line("poweroff -f")?;
    guest.wait_power_off(seconds(30))
}

#[test]
#[ignore = "all: the same on another model"]
fn ciphers_and_sums_on_a_haswell() {
    case("ciphers and sums on a Haswell", || calculates("Haswell", 1));
}

#[test]
fn ciphers_and_sums_on_all_that_is_built_on_2_vcpus() {
    case("ciphers and sums on CPU max, 2 vCPUs", || calculates("max", 2));
}
