//! What the rest of the crate needs of the kernel and of Xen: one border, behind which tests put a
//! hypervisor of their own.

use std::io;
use std::ptr::NonNull;

use crate::abi::Param;
use crate::abi::dm::DmOp;
use crate::pages::Pages;

/// The calls. All of them may come from any thread.
pub trait Kernel: Send + Sync {
    /// Makes a device model operation. `extra` is its second buffer, at most a page, for those that have one.
    fn dm_op(&self, domid: u16, op: &mut DmOp, extra: Option<&mut [u8]>) -> io::Result<()>;

    /// Maps the ring (first page) and the slots (second page) of an ioreq server of ours.
    fn map_ioreq_server(&self, domid: u16, server: u16) -> io::Result<Pages>;

    /// Puts pages of a domain at `addr`, in place of whatever is there, readable and writable. `errors`, as
    /// long as `gfns`, gets 0 or an error number of each page. A page with an error is not accessible: a
    /// touch kills the process. When the call as a whole fails that holds for all of them.
    ///
    /// # Safety
    /// `addr` is page aligned, and nothing but the caller owns the `gfns.len()` pages from it on. Nobody
    /// touches them during the call.
    unsafe fn map_foreign(
        &self,
        domid: u16,
        addr: NonNull<u8>,
        gfns: &[u64],
        errors: &mut [i32],
    ) -> io::Result<()>;

    /// Tries once more to put pages where [`map_foreign`](Kernel::map_foreign) had errors.
    ///
    /// # Safety
    /// The pages lie in one range that `map_foreign` filled, and all of them had errors there.
    unsafe fn fill_foreign(
        &self,
        domid: u16,
        addr: NonNull<u8>,
        gfns: &[u64],
        errors: &mut [i32],
    ) -> io::Result<()>;

    /// Gives a domain `pages` new pages from `first_gfn` on. Not after [`restrict`](Kernel::restrict).
    fn populate(&self, domid: u16, first_gfn: u64, pages: u64) -> io::Result<()>;

    /// Reads a parameter of a domain. Not after [`restrict`](Kernel::restrict).
    fn get_param(&self, domid: u16, param: Param) -> io::Result<u64>;

    /// Sets a parameter of a domain. Not after [`restrict`](Kernel::restrict).
    fn set_param(&self, domid: u16, param: Param, value: u64) -> io::Result<()>;

    /// A new set of event channels, for one thread to wait on.
    fn events(&self) -> io::Result<Box<dyn Events>>;

    /// Gives up everything but this one domain, for ever.
    fn restrict(&self, domid: u16) -> io::Result<()>;
}

/// Event channels of one file. One thread waits; any thread may notify and wake.
pub trait Events: Send + Sync {
    /// Connects to a port of a domain; gives our port.
    fn bind(&self, domid: u16, remote_port: u32) -> io::Result<u32>;
    /// Closes one of our ports.
    fn unbind(&self, port: u32) -> io::Result<()>;
    /// Raises an event at the other end of one of our ports.
    fn notify(&self, port: u32) -> io::Result<()>;
    /// Waits (or, unless `block`, only looks) for events and fills `ports` with the ports that have one, each
    /// at most once; they are masked until [`unmask`](Events::unmask). 0 after [`wake`](Events::wake) or a
    /// signal.
    fn wait(&self, ports: &mut [u32], block: bool) -> io::Result<usize>;
    /// Takes further events of these ports.
    fn unmask(&self, ports: &[u32]) -> io::Result<()>;
    /// Makes the present or the next [`wait`](Events::wait) return.
    fn wake(&self);
    /// Gives up binding to any but this domain, for ever.
    fn restrict(&self, domid: u16) -> io::Result<()>;
}
