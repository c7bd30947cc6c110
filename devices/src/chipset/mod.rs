//! The PC's chipset: host bridge, ISA bridge, power management, and the small things on the ISA bus.
