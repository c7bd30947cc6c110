//! The host's own CPU as the measure of ours: the same bytes, registers and memory on both.

pub mod cases;
pub mod families;
pub mod host;
#[allow(dead_code, reason = "integer families have no vectors")]
pub mod values;
#[allow(dead_code, reason = "most families have no wide vectors")]
pub mod wide;

/// Whether the host is what the tests measure against: an Intel core.
pub fn intel() -> bool {
    let leaf = std::arch::x86_64::__cpuid(0);
    (leaf.ebx, leaf.edx, leaf.ecx) == (0x756e_6547, 0x4965_6e69, 0x6c65_746e)
}

/// A number from the environment.
pub fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(default)
}
