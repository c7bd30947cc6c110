//! Random numbers of the host's kernel.

use devices_core::entropy::Entropy;
use rustix::rand::{GetRandomFlags, getrandom};

/// The kernel's own (getrandom(2)), as QEMU's `rng-builtin` and `rng-random`.
#[derive(Clone, Copy, Debug, Default)]
pub struct HostEntropy;

impl Entropy for HostEntropy {
    fn fill(&self, _position: u64, data: &mut [u8]) {
        let mut rest = data;
        while !rest.is_empty() {
            // Since the kernel has started it neither blocks nor fails; a signal makes it give less.
            match getrandom(&mut *rest, GetRandomFlags::empty()) {
                Ok(got) if got > 0 => rest = &mut rest[got..],
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) | Err(_) => {
                    tracing::warn!("the host has no random numbers");
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_is_filled_and_never_the_same() {
        let draw = || {
            let mut data = [0; 4096];
            HostEntropy.fill(0, &mut data);
            data
        };
        let (one, other) = (draw(), draw());
        assert_ne!(one, other);
        assert!(one.chunks(64).all(|part| part.iter().any(|byte| *byte != 0)));
    }
}
