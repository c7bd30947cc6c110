//! What dom0 is made of: Debian's packages, named one by one, because the dependencies of a whole system (init, apt,
//! scripts of every kind) are not wanted here.

use std::path::PathBuf;

use crate::place::Place;

/// Xen, its tools, the stock device model, a shell, and the libraries of all these.
pub const DOM0: [&str; 73] = [
    // Xen and its tools.
    "xen-hypervisor-4.17-amd64",
    "xen-utils-4.17",
    "xen-utils-common",
    "xenstore-utils",
    "libxencall1",
    "libxendevicemodel1",
    "libxenevtchn1",
    "libxenforeignmemory1",
    "libxengnttab1",
    "libxenhypfs1",
    "libxenmisc4.17",
    "libxenstore4",
    "libxentoolcore1",
    "libxentoollog1",
    // The stock device model and the firmware that both device models give their guests.
    "qemu-system-xen",
    "qemu-system-data",
    "seabios",
    "ipxe-qemu",
    // A shell and tools for it; busybox stands in for the rest.
    "bash",
    "coreutils",
    "busybox-static",
    "strace",
    // Images made and looked at by another program than ours.
    "qemu-utils",
    // The libraries that these need.
    "libacl1",
    "libaio1",
    "libattr1",
    "libblkid1",
    "libbz2-1.0",
    "libc6",
    "libcap2",
    "libdw1",
    "libelf1",
    "libfdt1",
    "libffi8",
    "libfuse3-3",
    "libgcc-s1",
    "libglib2.0-0",
    "libgmp10",
    "libgnutls30",
    "libgstreamer-plugins-base1.0-0",
    "libgstreamer1.0-0",
    "libhogweed6",
    "libidn2-0",
    "libjpeg62-turbo",
    "liblz4-1",
    "liblzma5",
    "libmount1",
    "libncurses6",
    "libnettle8",
    "libnl-3-200",
    "libnl-route-3-200",
    "libnuma1",
    "libopus0",
    "liborc-0.4-0",
    "libp11-kit0",
    "libpcre2-8-0",
    "libpixman-1-0",
    "libsasl2-2",
    "libselinux1",
    "libspice-server1",
    "libssl3",
    "libstdc++6",
    "libtasn1-6",
    "libtinfo6",
    "libudev1",
    "libunistring2",
    "libunwind8",
    "liburing2",
    "libusb-1.0-0",
    "libuuid1",
    "libyajl2",
    "libzstd1",
    "zlib1g",
];

/// Where they are unpacked: apart, because dom0's disk is made of this whole tree.
pub fn root(place: &Place) -> PathBuf {
    place.build.join("xen-root")
}
